"""Tokens, and downloads with them."""

import httpx

from tests.ledger.given import rows_of
from tests.serving import signed

PATH = "/api/datasets/download"


def issue(client: httpx.Client, run_id: object, **headers: str) -> httpx.Response:
    return client.post(f"/runs/{run_id}/dataset-token", headers=signed() | headers)


def token_of(client: httpx.Client, run_id: object) -> str:
    return str(issue(client, run_id).raise_for_status().json()["token"])


def download(client: httpx.Client, token: str, method: str = "GET", **headers: str) -> httpx.Response:
    return client.request(method, PATH, params={"token": token}, headers=headers)


def used(owner) -> list[bool]:
    return [row.used for row in rows_of(owner, "SELECT used_at IS NOT NULL AS used FROM ledger.download_token")]
