"""`oncetune doctor` at another door: a server that is away, none of ours, or one that says what ours never would."""

import time
from email.utils import formatdate
from typing import Any

import pytest

from tests.cli.conftest import Doctor
from tests.cli.diagnosis import failing, states
from tests.cli.small_server import HEALTHY, OPENAPI, SmallServer, dripping_server, small_server
from tests.serving import free_port


def test_a_server_that_is_away_fails_and_nothing_else_is_guessed(doctor: Doctor) -> None:
    code, checks = doctor(f"http://127.0.0.1:{free_port()}")
    assert code == 1
    assert failing(checks) == {"health"}
    assert set(states(checks).values()) == {"FAIL", "unknown"}
    assert "kubectl get pods" in checks["health"]["remedy"]


@pytest.mark.parametrize(
    ("answer", "headers", "words"),
    [
        ((200, "<html>Welcome</html>"), {}, "text/html"),
        ((200, []), {}, "not this service"),
        ((200, "[" * 100_000), {}, "not this service"),
        ((302, ""), {"location": "https://elsewhere.example"}, "https://elsewhere.example"),
        ((404, {"detail": "Nothing here"}), {}, "Nothing here"),
    ],
)
def test_another_kind_of_server_is_told_and_is_sent_nothing_more(
    doctor: Doctor, answer: tuple[int, Any], headers: dict[str, str], words: str
) -> None:
    with small_server(SmallServer({"/health": answer}, headers=headers)) as server:
        code, checks = doctor(server.url)
    assert code == 1
    assert failing(checks) == {"health"}
    assert words in checks["health"]["words"]
    assert server.asked == ["GET /health"]


def test_a_server_that_never_ends_its_headers_is_given_up(doctor: Doctor) -> None:
    with dripping_server() as url:
        code, checks = doctor(url)
    assert code == 1
    assert failing(checks) == {"health"}
    assert "no whole answer within 10 s" in checks["health"]["words"]


def test_times_that_no_calendar_holds_are_a_dash(doctor: Doctor) -> None:
    told = HEALTHY | {"registration": {"state": "registered", "registered_until": 1e300}}
    with small_server(SmallServer({"/health": (200, told)})) as server:
        _, checks = doctor(server.url)
    assert checks["registration"]["words"] == "registered until -"


@pytest.mark.parametrize(("seconds", "state"), [(-3600, "warn"), (45, "warn"), (20, "ok")])
def test_a_clock_that_is_more_than_half_a_minute_off_is_a_warning(doctor: Doctor, seconds: int, state: str) -> None:
    date = formatdate(time.time() + seconds, usegmt=True)
    with small_server(SmallServer({"/health": (200, HEALTHY)}, date=date)) as server:
        _, checks = doctor(server.url)
    assert checks["clock"]["state"] == state
    assert (abs(seconds) > 30) == ("behind" in checks["clock"]["words"] or "ahead" in checks["clock"]["words"])


def test_a_date_that_is_none_leaves_the_clock_unknown(doctor: Doctor) -> None:
    with small_server(SmallServer({"/health": (200, HEALTHY)}, date="yesterday")) as server:
        _, checks = doctor(server.url)
    assert states(checks)["clock"] == "unknown"


def test_a_server_that_knows_no_dry_run_is_never_asked_for_one(doctor: Doctor) -> None:
    other = {"paths": {"/trigger-finetune": {"post": {"parameters": [{"name": "other"}]}}}}
    with small_server(SmallServer({"/health": (200, HEALTHY), "/openapi.json": (200, other)})) as server:
        _, checks = doctor(server.url)
    assert states(checks)["dry run"] == states(checks)["unsigned trigger"] == "unknown"
    assert not [asked for asked in server.asked if asked.startswith("POST")]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": "valid", "dataset_rows": 1, "dataset_sha256": "0" * 64}, None),
        ({"run_id": "a-run", "status": "queued"}, "a-run"),
    ],
)
def test_a_trigger_that_asks_for_no_signature_fails(doctor: Doctor, answer: dict[str, Any], words: str | None) -> None:
    served = {"/health": (200, HEALTHY), "/openapi.json": (200, OPENAPI), "/trigger-finetune": (200, answer)}
    with small_server(SmallServer(served | {"/runs": (200, {"runs": []})})) as server:
        code, checks = doctor(server.url)
    assert code == 1
    assert {"unsigned trigger", "forged trigger"} <= failing(checks)
    assert ("dry run" in failing(checks)) == (words is not None)
    assert (words or "valid") in checks["dry run"]["words"]


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("StatusCode.INTERNAL", "broker.secretEnv"),
        ("StatusCode.UNAUTHENTICATED", "dapr.apiTokenSecret"),
        ("sidecar", "dapr status --kubernetes"),
        ("status", "the service status"),
    ],
)
def test_who_refuses_events_is_told_with_what_to_set(doctor: Doctor, reason: str, remedy: str) -> None:
    told = HEALTHY | {"publishing": {"state": "failing", "since": 1_700_000_000, "reason": reason}}
    with small_server(SmallServer({"/health": (200, told)})) as server:
        code, checks = doctor(server.url)
    assert (code, checks["publishing"]["state"]) == (1, "FAIL")
    assert reason in checks["publishing"]["words"]
    assert remedy in checks["publishing"]["remedy"]
