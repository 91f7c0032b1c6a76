"""`oncetune doctor`: each thing is really broken once, and the table says so and what to do."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import httpx
import pytest
from dapr.conf import settings  # the SDK has read the environment when it was imported
from sqlalchemy import Engine

from tests.cli.conftest import Oncetune
from tests.cli.small_server import HEALTHY, OPENAPI, SmallServer, dripping_server, small_server
from tests.deadline import eventually
from tests.outage import database_away
from tests.serving import SECRET, free_port, serving
from tests.trigger.asked import ask, recorded

OTHER = "another-secret-than-the-server-has"
FINGERPRINT = hashlib.sha256(SECRET.encode()).hexdigest()[:8]
Doctor = Callable[..., tuple[int, dict[str, dict[str, str]]]]


@pytest.fixture
def doctor(oncetune: Oncetune) -> Doctor:
    """Examine a URL: the exit code, and each check by its name."""

    def examine(url: object, *words: str, secret: str = SECRET, **settings: str) -> tuple[int, dict[str, Any]]:
        settings = {"DPO_GATEWAY_SHARED_SECRET": secret, **settings} if secret else settings
        told = oncetune("doctor", "--url", str(url), "--json", *words, **settings)
        assert "Traceback" not in told.stderr
        assert not secret or secret not in told.stdout + told.stderr
        return told.returncode, {check["name"]: check for check in json.loads(told.stdout)["checks"]}

    return examine


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[httpx.Client]:
    with serving(monkeypatch, "trigger", "status", database_url=database_url) as running:
        yield running


def states(checks: dict[str, dict[str, str]]) -> dict[str, str]:
    return {name: check["state"] for name, check in checks.items()}


def failing(checks: dict[str, dict[str, str]]) -> set[str]:
    """The checks that failed; each of them says what to do."""
    failed = {name: check for name, check in checks.items() if check["state"] == "FAIL"}
    assert all(check["remedy"] for check in failed.values())
    return set(failed)


def test_a_deployment_that_is_well_passes_every_check_and_nothing_is_recorded(
    client: httpx.Client, doctor: Doctor, engine: Callable[..., Engine]
) -> None:
    code, checks = doctor(client.base_url)
    assert code == 0
    assert set(states(checks).values()) == {"ok"}
    assert list(checks) == [
        "health", "database", "sidecar", "registration", "outbox", "clock",
        "unsigned trigger", "forged trigger", "secret", "dry run", "runs",
    ]  # fmt: skip
    assert FINGERPRINT in checks["secret"]["words"]
    assert set(recorded(engine(None)).values()) == {0}


def test_the_table_is_for_people_and_its_secret_is_a_fingerprint(client: httpx.Client, oncetune: Oncetune) -> None:
    told = oncetune("doctor", "--url", str(client.base_url), DPO_GATEWAY_SHARED_SECRET=SECRET)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("CHECK")
    assert FINGERPRINT in told.stdout
    assert SECRET not in told.stdout
    assert "What to do" not in told.stdout
    wrong = oncetune("doctor", "--url", str(client.base_url), DPO_GATEWAY_SHARED_SECRET=OTHER)
    assert wrong.returncode == 1
    assert "What to do:\n1. secret: " in wrong.stdout
    assert "secret, dry run, runs" in wrong.stderr


def test_another_secret_than_the_servers_is_told_by_fingerprint(client: httpx.Client, doctor: Doctor) -> None:
    code, checks = doctor(client.base_url, secret=OTHER)
    assert code == 1
    assert failing(checks) == {"secret", "dry run", "runs"}
    assert hashlib.sha256(OTHER.encode()).hexdigest()[:8] in checks["secret"]["words"]


def test_a_server_that_missed_a_rotation_is_told_as_one(client: httpx.Client, doctor: Doctor) -> None:
    code, checks = doctor(client.base_url, secret=OTHER, DPO_GATEWAY_SHARED_SECRET_PREVIOUS=SECRET)
    assert code == 1
    assert "the previous one" in checks["secret"]["words"]
    assert "Restart" in checks["secret"]["remedy"]


@pytest.mark.parametrize("secret", ["", SECRET + "\n", f"{SECRET}\u00e4"])
def test_a_secret_that_is_none_fails_and_the_rest_is_looked_at(
    client: httpx.Client, doctor: Doctor, secret: str
) -> None:
    code, checks = doctor(client.base_url, secret=secret)
    assert code == 1
    assert failing(checks) == {"secret"}
    assert states(checks)["unsigned trigger"] == "ok"
    assert states(checks)["dry run"] == states(checks)["runs"] == "unknown"


def test_a_server_that_is_away_fails_and_nothing_else_is_guessed(doctor: Doctor) -> None:
    code, checks = doctor(f"http://127.0.0.1:{free_port()}")
    assert code == 1
    assert failing(checks) == {"health"}
    assert set(states(checks).values()) == {"FAIL", "unknown"}


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


@pytest.mark.parametrize(("status", "state"), [(204, "ok"), (500, "FAIL")])
def test_a_sidecar_that_does_not_answer_fails_its_check_and_the_service_stays_healthy_and_ready(
    monkeypatch: pytest.MonkeyPatch, database_url: str, doctor: Doctor, status: int, state: str
) -> None:
    with small_server(SmallServer({"/v1.0/healthz/outbound": (status, "")})) as sidecar:
        monkeypatch.setattr(settings, "DAPR_HTTP_PORT", sidecar.port)
        environment = {"ONCETUNE_TRIGGER_DELIVERY": "sidecar"}
        with serving(monkeypatch, "trigger", "status", database_url=database_url, environment=environment) as client:
            code, checks = doctor(client.base_url)
            assert client.get("/ready").status_code == 200
    assert (code, checks["sidecar"]["state"], checks["health"]["state"]) == (int(state == "FAIL"), state, "ok")


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


def test_a_database_that_is_away_fails_and_the_secret_is_still_compared(
    client: httpx.Client, doctor: Doctor, administer: Callable[[str], None], database_url: str
) -> None:
    with database_away(administer, database_url):
        code, checks = doctor(client.base_url)
    assert code == 1
    assert failing(checks) == {"health", "database", "runs"}
    assert states(checks)["secret"] == "ok"


def test_a_model_that_the_server_does_not_know_is_told_with_the_known_ones(
    client: httpx.Client, doctor: Doctor
) -> None:
    code, checks = doctor(client.base_url, "--base-model", "gpt-7")
    assert code == 1
    assert failing(checks) == {"dry run"}
    assert "zephyr" in checks["dry run"]["words"]
    assert "--base-model" in checks["dry run"]["remedy"]


def test_events_that_nobody_takes_fail_the_outbox(
    monkeypatch: pytest.MonkeyPatch, database_url: str, doctor: Doctor
) -> None:
    nobody = {
        "ONCETUNE_TRIGGER_DIRECT_STATUS_URL": f"http://127.0.0.1:{free_port()}",
        "ONCETUNE_TRIGGER_RELAY_STUCK_AFTER": "2",
        "ONCETUNE_TRIGGER_RELAY_BACKOFF": "PT0.05S",
    }
    with serving(monkeypatch, "trigger", "status", database_url=database_url, environment=nobody) as client:
        assert ask(client).status_code == 200
        eventually(lambda: client.get("/health").json()["outbox"]["stuck"])
        code, checks = doctor(client.base_url)
    assert code == 1
    assert failing(checks) == {"outbox"}
    assert "1 of them stuck" in checks["outbox"]["words"]


@pytest.mark.parametrize(("environment", "state"), [("local", "warn"), ("production", "FAIL")])
def test_a_registration_that_fails_is_told_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, database_url: str, doctor: Doctor, environment: str, state: str
) -> None:
    away = {
        "DPO_REGISTER_URL": f"http://127.0.0.1:{free_port()}/register",
        "DPO_REGISTER_SECRET": "a-register-secret-of-the-tests",
        "DPO_REGISTER_SELF_CHECK": "false",
        "DPO_PUBLIC_BASE_URL": "https://tuning.example.com",
        "ONCETUNE_ENVIRONMENT": environment,
    }
    with serving(monkeypatch, "trigger", "status", database_url=database_url, environment=away) as client:
        eventually(lambda: client.get("/health").json()["registration"]["state"] == "failing")
        _, checks = doctor(client.base_url)
    assert states(checks)["registration"] == state
    assert "failing: the gateway" in checks["registration"]["words"]
    assert "next try" in checks["registration"]["words"]


def test_a_url_that_is_none_is_a_matter_of_usage(oncetune: Oncetune) -> None:
    for url in ("nonsense", "ftp://127.0.0.1/", "http://"):
        told = oncetune("doctor", "--url", url)
        assert told.returncode == 2
        assert "Traceback" not in told.stderr
