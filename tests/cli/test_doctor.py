"""`oncetune doctor`: each thing is really broken once, and the table says so and what to do."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from dapr.conf import settings  # the SDK has read the environment when it was imported
from sqlalchemy import Engine, text

from oncetune.migrations.upgrade import head
from tests.cli.conftest import Doctor, Oncetune
from tests.cli.diagnosis import failing, states
from tests.cli.small_server import SmallServer, small_server
from tests.deadline import eventually
from tests.outage import database_away
from tests.serving import SECRET, free_port, serving
from tests.trigger.asked import ask, recorded

OTHER = "another-secret-than-the-server-has"
FINGERPRINT = hashlib.sha256(SECRET.encode()).hexdigest()[:8]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, database_url: str, tmp_path: Path) -> Iterator[httpx.Client]:
    folders = {"ONCETUNE_ARTIFACTS": str(tmp_path / "artifacts")}
    with serving(monkeypatch, "trigger", "status", database_url=database_url, environment=folders) as running:
        yield running


def test_a_deployment_that_is_well_passes_every_check_and_nothing_is_recorded(
    client: httpx.Client, doctor: Doctor, engine: Callable[..., Engine]
) -> None:
    code, checks = doctor(client.base_url)
    assert code == 0
    assert set(states(checks).values()) == {"ok"}
    assert list(checks) == [
        "health", "database", "schema", "sidecar", "publishing", "registration", "outbox", "artifacts", "clock",
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


def test_a_status_that_was_not_told_where_results_are_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, database_url: str, doctor: Doctor
) -> None:
    with serving(monkeypatch, "trigger", "status", database_url=database_url) as client:
        code, checks = doctor(client.base_url)
    assert (code, checks["artifacts"]["state"]) == (0, "warn")
    assert "no run has links" in checks["artifacts"]["words"]


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
    assert failing(checks) == {"publishing", "outbox"}
    assert "1 of them stuck" in checks["outbox"]["words"]
    assert checks["publishing"]["words"].endswith(": status")


def test_a_schema_that_is_older_than_the_service_fails_with_both_numbers(
    client: httpx.Client, doctor: Doctor, engine: Callable[..., Engine]
) -> None:
    with engine(None).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    code, checks = doctor(client.base_url)
    assert (code, failing(checks)) == (1, {"schema"})
    assert checks["schema"]["words"] == f"the database is at 0001, {head()} is needed"
    assert "oncetune migrate" in checks["schema"]["remedy"]


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
