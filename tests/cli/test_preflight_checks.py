"""`oncetune preflight`: what it says of each thing that is really broken, and that it says nothing of the others."""

import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import make_url

from oncetune.cli.checks import State
from oncetune.cli.secret_checks import MINIMUM_LENGTH, check_secret
from oncetune.gateway.settings import GatewaySettings
from tests.cli.conftest import GATEWAY, REGISTER_SECRET, SECRET, Oncetune, Preflight
from tests.cli.small_server import SmallServer, small_server
from tests.outage import database_away
from tests.serving import free_port


def failing(checks: dict[str, dict[str, str]]) -> set[str]:
    """The checks that failed; each of them says what to do."""
    failed = {name: check for name, check in checks.items() if check["state"] == "FAIL"}
    assert all(check["remedy"] for check in failed.values())
    return set(failed)


@pytest.mark.parametrize(
    ("settings", "failed", "words"),
    [
        ({"DPO_GATEWAY_SHARED_SECRET": ""}, "DPO_GATEWAY_SHARED_SECRET", "is not set"),
        ({"DPO_GATEWAY_SHARED_SECRET": "f3b9a6d27c14e58"}, "DPO_GATEWAY_SHARED_SECRET", "15 characters"),
        ({"DPO_GATEWAY_SHARED_SECRET": "change-me-change-me-1"}, "DPO_GATEWAY_SHARED_SECRET", "placeholder"),
        ({"DPO_GATEWAY_SHARED_SECRET": SECRET + "\n"}, "DPO_GATEWAY_SHARED_SECRET", "line break"),
        ({"DPO_GATEWAY_SHARED_SECRET_PREVIOUS": f'"{SECRET}"'}, "DPO_GATEWAY_SHARED_SECRET_PREVIOUS", "quotes"),
        ({"DPO_REGISTER_URL": GATEWAY, "RUNPOD_POD_ID": "abc"}, "DPO_REGISTER_SECRET", "is not set"),
        ({"DPO_PUBLIC_BASE_URL": "http://localhost:8080"}, "public URL", "localhost means something else"),
        ({"DPO_PUBLIC_BASE_URL": "https://127.0.0.1"}, "public URL", "cannot reach"),
        ({"DPO_PUBLIC_BASE_URL": "gateway.example.com"}, "public URL", "is not a URL"),
        ({"DPO_PUBLIC_BASE_URL": "http://203.0.113.9:8080", "RUNPOD_POD_ID": "abc"}, "public URL", "never reached"),
        ({"RUNPOD_POD_ID": "abc/evil.example"}, "public URL", "RUNPOD_POD_ID"),
        (
            {"DPO_REGISTER_URL": GATEWAY, "DPO_REGISTER_SECRET": REGISTER_SECRET},
            "public URL",
            "DPO_PUBLIC_BASE_URL is missing",
        ),
        (
            {"DPO_REGISTER_URL": "register", "DPO_REGISTER_SECRET": REGISTER_SECRET, "RUNPOD_POD_ID": "abc"},
            "registration",
            "DPO_REGISTER_URL is not a URL",
        ),
        ({"DPO_SERVICE_TTL_SECONDS": "six hours"}, "settings", "DPO_SERVICE_TTL_SECONDS"),
        ({"ONCETUNE_ENVIRONMENT": "staging"}, "settings", "ONCETUNE_ENVIRONMENT"),
        ({"DATABASE_URL": ""}, "database", "is not set"),
        ({"DATABASE_URL": "nonsense"}, "database", "is no Postgres URL"),
        ({"DATABASE_URL": "postgresql://ann@127.0.0.1:9/x"}, "database", "does not answer"),
        ({"ONCETUNE_TRIGGER_DELIVERY": "sidecar", "DAPR_HTTP_PORT": "http"}, "sidecar", "DAPR_HTTP_PORT is http"),
        ({"ONCETUNE_TRIGGER_DELIVERY": "pigeons"}, "sidecar", "pigeons"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_input_fails_its_own_check_and_no_other(
    preflight: Preflight, settings: dict[str, str], failed: str, words: str
) -> None:
    code, checks, _ = preflight("--port", str(free_port()), **settings)
    assert code == 1
    assert failing(checks) == {failed}
    assert words in checks[failed]["words"]


def test_localhost_is_good_enough_on_ones_own_machine(preflight: Preflight) -> None:
    code, checks, _ = preflight(DPO_PUBLIC_BASE_URL="http://localhost:8080", ONCETUNE_ENVIRONMENT="local")
    assert (code, checks["public URL"]["state"]) == (0, "ok")


def test_a_port_that_is_taken_fails(preflight: Preflight) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        code, checks, _ = preflight("--port", port)
    assert code == 1
    assert failing(checks) == {"port"}
    assert port in checks["port"]["words"]


def test_a_full_disk_fails(preflight: Preflight, tmp_path: Path) -> None:
    code, checks, _ = preflight("--min-free-mb", str(2**40), ONCETUNE_ARTIFACTS=str(tmp_path / "not" / "there" / "yet"))
    assert code == 1
    assert failing(checks) == {"disk"}
    assert str(tmp_path) in checks["disk"]["words"]


@pytest.fixture
def empty_database(server_url: str, administer: Callable[[str], None]) -> Iterator[str]:
    """A database without any table of ours."""
    name = f"empty_{uuid.uuid4().hex}"
    administer(f"CREATE DATABASE {name}")
    yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    administer(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_database_that_was_never_migrated_fails_and_a_migration_mends_it(
    preflight: Preflight, oncetune: Oncetune, empty_database: str
) -> None:
    code, checks, _ = preflight(DATABASE_URL=empty_database)
    assert (code, failing(checks)) == (1, {"database"})
    assert "oncetune migrate" in checks["database"]["remedy"]
    assert oncetune("migrate", DATABASE_URL=empty_database).returncode == 0
    assert preflight(DATABASE_URL=empty_database)[0] == 0


@pytest.mark.parametrize(("revision", "state"), [(None, "FAIL"), ("9999", "warn")])
def test_a_database_at_another_version_is_told_with_both(
    preflight: Preflight, engine: Any, revision: str | None, state: str
) -> None:
    with engine(None).begin() as connection:
        change = (
            "DELETE FROM alembic_version" if revision is None else "UPDATE alembic_version SET version_num = '9999'"
        )
        connection.exec_driver_sql(change)
    _, checks, _ = preflight()
    assert checks["database"]["state"] == state
    assert (revision or "is needed") in checks["database"]["words"]


def test_a_database_that_is_away_fails(
    preflight: Preflight, administer: Callable[[str], None], database_url: str
) -> None:
    with database_away(administer, database_url):
        code, checks, _ = preflight()
    assert (code, failing(checks)) == (1, {"database"})


def test_a_login_needs_the_roles_of_the_services_and_no_more(
    preflight: Preflight, administer: Callable[[str], None], database_url: str
) -> None:
    name = f"login_{uuid.uuid4().hex[:8]}"
    administer(f"CREATE ROLE {name} LOGIN PASSWORD 'word'")
    try:
        url = make_url(database_url).set(username=name, password="word").render_as_string(hide_password=False)
        code, checks, _ = preflight(DATABASE_URL=url)
        assert (code, failing(checks)) == (1, {"database"})
        assert "GRANT oncetune_trigger, oncetune_status" in checks["database"]["remedy"]
        administer(f"GRANT oncetune_trigger, oncetune_status TO {name}")
        assert preflight(DATABASE_URL=url)[0] == 0
    finally:
        administer(f"DROP ROLE {name}")


def test_a_sidecar_that_is_silent_is_a_warning_and_one_that_answers_is_ok(preflight: Preflight) -> None:
    sidecar = {"ONCETUNE_TRIGGER_DELIVERY": "sidecar", "DAPR_GRPC_PORT": str(free_port())}
    with small_server(SmallServer({"/v1.0/healthz/outbound": (200, {})})) as http:
        code, checks, _ = preflight(**sidecar, DAPR_HTTP_PORT=str(http.port))
        assert (code, checks["sidecar"]["state"]) == (0, "warn")
        with socket.create_server(("127.0.0.1", 0)) as grpc:
            sidecar["DAPR_GRPC_PORT"] = str(grpc.getsockname()[1])
            _, checks, _ = preflight(**sidecar, DAPR_HTTP_PORT=str(http.port))
    assert checks["sidecar"]["state"] == "ok"
    _, checks, _ = preflight(**sidecar, DAPR_HTTP_PORT=str(http.port))
    assert checks["sidecar"]["state"] == "warn"


def test_the_shortest_secret_is_as_long_as_the_service_asks() -> None:
    letters = "0f3b9a6d27c14e58"
    assert len(letters) == MINIMUM_LENGTH
    assert check_secret("S", letters, same_as="it").state is State.WARN
    GatewaySettings(shared_secret=SecretStr(letters))
    with pytest.raises(ValidationError):
        GatewaySettings(shared_secret=SecretStr(letters[1:]))


@pytest.mark.parametrize(
    "secret",
    ["<your-gateway-secret>", "${GATEWAY_SECRET_VALUE}", "a" * 40, "xxxxxxxxxxxxxxxxxxxxxxxxx", "my-secret-my-secret-1",
     "password1234567890", "CHANGEME_CHANGEME_CHANGEME"],
)  # fmt: skip
def test_somebodys_example_is_no_secret(secret: str) -> None:
    check = check_secret("S", secret, same_as="it")
    assert check.state is State.FAIL
    assert secret not in check.words + check.remedy
