"""Download tokens: one whole dataset for one token, for whom it was issued to."""

import base64
import hashlib
import re
import time
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.datasets.unpacking import unpack_rows
from tests.ledger.given import ROWS, change
from tests.serving import serving, signed
from tests.trigger.downloading import PATH, download, issue, token_of


def test_a_token_downloads_the_stored_rows_once_with_their_hash_and_no_header_of_the_gateway(client, engine, run_id):
    before = int(time.time())
    answer = issue(client, run_id)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    told = answer.json()
    assert set(told) == {"token", "url", "expires_at"}
    assert re.fullmatch("[A-Za-z0-9_-]{43}", told["token"]) and len(base64.urlsafe_b64decode(told["token"] + "=")) == 32
    assert before + 7195 < told["expires_at"] <= int(time.time()) + 7200
    rows = unpack_rows(ROWS.chunks, sha256=ROWS.sha256)
    first = httpx.get(told["url"], trust_env=False)
    assert (first.status_code, first.content) == (200, rows)
    digest = base64.b64encode(hashlib.sha256(rows).digest()).decode()
    for header, value in {
        "content-type": "application/x-ndjson",
        "content-length": str(len(rows)),
        "repr-digest": f"sha-256=:{digest}:",
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
    }.items():
        assert first.headers[header] == value
    again = httpx.get(told["url"], trust_env=False)
    assert (again.status_code, again.json()["code"]) == (401, "bad_token")


def test_a_token_goes_to_admins_for_runs_that_there_are(client, run_id):
    assert client.post(f"/runs/{run_id}/dataset-token").status_code == 401
    assert client.post(f"/runs/{run_id}/dataset-token", headers=signed(admin=False)).status_code == 403
    for other in ("00000000-0000-7000-8000-000000000000", "not-a-uuid"):
        assert issue(client, other).json()["code"] == "run_not_found"


def test_no_token_is_400_and_one_that_is_malformed_or_unknown_401(client, run_id):
    assert [client.get(PATH).status_code, download(client, "").status_code] == [400, 400]
    token = token_of(client, run_id)
    odd = (token[:-1], token + "A", token[::-1], "\x00" * 43, "ü" * 43, "A" * 43, token.swapcase(), "A" * 5000)
    assert [(download(client, one).status_code, download(client, one).json()["code"]) for one in odd] == [
        (401, "bad_token")
    ] * len(odd)
    assert download(client, token).status_code == 200


def test_a_token_lives_two_hours_or_as_long_as_is_set(monkeypatch, database_url, engine, run_id):
    with serving(monkeypatch, "trigger", database_url=database_url) as client:
        token = token_of(client, run_id)
        change(engine(None), "UPDATE ledger.download_token SET expires_at = now()")
        assert download(client, token).status_code == 401
        assert download(client, token, "HEAD").status_code == 401
    short = {"ONCETUNE_TRIGGER_DOWNLOAD_TOKEN_LIFETIME": "PT60S"}
    with serving(monkeypatch, "trigger", database_url=database_url, environment=short) as client:
        assert issue(client, run_id).json()["expires_at"] <= time.time() + 60


def test_the_url_is_below_the_public_one_where_that_is_known(monkeypatch, database_url, run_id):
    public = {"DPO_PUBLIC_BASE_URL": "https://tune.example/finetune/"}
    with serving(monkeypatch, "trigger", database_url=database_url, environment=public) as client:
        told = issue(client, run_id).json()
    url = urlsplit(told["url"])
    assert (url.netloc, url.path, parse_qs(url.query)) == (
        "tune.example",
        f"/finetune{PATH}",
        {"token": [told["token"]]},
    )
