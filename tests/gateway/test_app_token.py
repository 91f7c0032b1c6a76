"""Only the sidecar may reach what the sidecar calls."""

import json

import pytest

from oncetune.dapr import MAX_DELIVERY_BYTES, TOKEN_HEADER
from tests.serving import APP_TOKEN, serving

PATHS = [
    ("GET", "/dapr/subscribe"), ("GET", "/dapr/config"), ("GET", "/%64apr/subscribe"),
    ("POST", "/events/run-requested"),
    ("POST", "/events/run-lifecycle"), ("POST", "/events/dead/run-requested"), ("POST", "/events/dead/run-lifecycle"),
]  # fmt: skip


@pytest.fixture(params=["status", "trainer"])
def client(request, monkeypatch, database_url, tmp_path):
    folders = {
        "ONCETUNE_ARTIFACTS": "artifacts",
        "ONCETUNE_MODEL_CACHE": "models",
        "ONCETUNE_TRAINER_STAGING": "staging",
    }
    environment = {name: str(tmp_path / folder) for name, folder in folders.items()}
    with serving(monkeypatch, request.param, database_url=database_url, environment=environment) as client:
        yield client


def test_without_the_token_every_route_of_the_sidecar_is_401(client):
    for method, path in PATHS:
        for headers in ({}, {TOKEN_HEADER: "wrong"}, {TOKEN_HEADER: b"\xff"}, {TOKEN_HEADER: APP_TOKEN + " x"}):
            answer = client.request(method, path, headers=headers, content=b"{}")
            assert (answer.status_code, answer.json()["code"]) == (401, "bad_app_token"), path
    assert client.get("/live").status_code == 200


def test_with_the_token_the_sidecar_learns_of_the_subscriptions(client):
    subscriptions = client.get("/dapr/subscribe", headers={TOKEN_HEADER: APP_TOKEN}).json()
    assert "run.requested" in {subscription["topic"] for subscription in subscriptions}


def test_a_delivery_that_is_too_long_or_no_event_is_answered_with_a_word_that_ends_it(client):
    for content in (b" " * (MAX_DELIVERY_BYTES + 1), b"", b"\xff", b"[]", json.dumps({"id": "x"}).encode()):
        answer = client.post("/events/run-requested", headers={TOKEN_HEADER: APP_TOKEN}, content=content)
        assert answer.status_code == 200
        assert answer.json()["status"] in ("SUCCESS", "DROP")
