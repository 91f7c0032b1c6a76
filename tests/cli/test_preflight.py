"""`oncetune preflight`: what it derives from three inputs, and what it says of each thing that is really broken."""

import hashlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import make_url

from oncetune.cli.checks import State
from oncetune.cli.secret_checks import MINIMUM_LENGTH, check_secret
from oncetune.gateway.settings import GatewaySettings
from tests.cli.conftest import Oncetune
from tests.cli.small_server import SmallServer, small_server
from tests.deadline import eventually
from tests.outage import database_away
from tests.serving import free_port
from tests.stack import program_environment

SECRET = "0f3b9a6d27c14e58" * 3
REGISTER_SECRET = "77aa41be90c2d3f5" * 3
GATEWAY = "https://gateway.example.com/dpo/register"
Preflight = Callable[..., tuple[int, dict[str, dict[str, str]], dict[str, str]]]


@pytest.fixture
def whole(database_url: str) -> dict[str, str]:
    """Settings with which everything is in order."""
    return {
        "DATABASE_URL": database_url,
        "DPO_GATEWAY_SHARED_SECRET": SECRET,
        "ONCETUNE_TRIGGER_DELIVERY": "direct",
        "APP_API_TOKEN": "an-app-token-of-the-tests",
    }


@pytest.fixture
def preflight(oncetune: Oncetune, whole: dict[str, str]) -> Preflight:
    """Look with these settings in place of whole ones: the exit code, each check by its name, the environment."""

    def look(*words: str, **settings: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        told = oncetune("preflight", "--json", "--min-free-mb", "0", *words, **{**whole, **settings})
        assert "Traceback" not in told.stderr
        document = json.loads(told.stdout)
        assert document["ok"] is (told.returncode == 0)
        return told.returncode, {check["name"]: check for check in document["checks"]}, document["environment"]

    return look


def failing(checks: dict[str, dict[str, str]]) -> set[str]:
    """The checks that failed; each of them says what to do."""
    failed = {name: check for name, check in checks.items() if check["state"] == "FAIL"}
    assert all(check["remedy"] for check in failed.values())
    return set(failed)


def test_three_inputs_make_the_whole_environment_of_a_pod(preflight: Preflight) -> None:
    port = str(free_port())
    settings = {"RUNPOD_POD_ID": "abc123xyz", "DPO_REGISTER_URL": GATEWAY, "DPO_REGISTER_SECRET": REGISTER_SECRET}
    code, checks, environment = preflight("--port", port, **settings)
    assert code == 0
    assert {check["state"] for check in checks.values()} == {"ok"}
    assert environment["DPO_PUBLIC_BASE_URL"] == f"https://abc123xyz-{port}.proxy.runpod.net"
    assert environment["ONCETUNE_PORT"] == port
    assert environment["DPO_SERVICE_TTL_SECONDS"] == "21600"
    assert environment["ONCETUNE_TRIGGER_DIRECT_STATUS_URL"] == f"http://127.0.0.1:{port}"


def test_port_0_finds_a_free_one_and_a_pod_is_told_to_expose_it(preflight: Preflight) -> None:
    with socket.socket() as usual:
        usual.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            usual.bind(("127.0.0.1", 8080))
            usual.listen()
        except OSError:
            pass  # somebody else listens there: as good
        code, checks, environment = preflight(RUNPOD_POD_ID="abc123xyz")
    assert code == 0
    port = environment["ONCETUNE_PORT"]
    assert port != "8080"
    assert environment["DPO_PUBLIC_BASE_URL"] == f"https://abc123xyz-{port}.proxy.runpod.net"
    assert checks["port"]["state"] == "warn"
    assert f"Expose HTTP port {port}" in checks["port"]["remedy"]


def test_a_terminal_sees_fingerprints_and_the_file_holds_the_secrets_for_its_owner_alone(
    oncetune: Oncetune, whole: dict[str, str], tmp_path: Path
) -> None:
    odd = make_url(whole["DATABASE_URL"]).update_query_dict({"application_name": "a 'quoted' $word"})
    url = odd.render_as_string(hide_password=False)
    settings = {**whole, "DATABASE_URL": url, "DPO_REGISTER_URL": GATEWAY, "DPO_REGISTER_SECRET": REGISTER_SECRET}
    words = ("--env", "pod.env", "--min-free-mb", "0", "--pod-id", "abc123xyz", "--port", str(free_port()))
    told = oncetune("preflight", *words, **settings)
    assert told.returncode == 0, told.stdout
    for secret in (SECRET, REGISTER_SECRET, whole["APP_API_TOKEN"]):
        assert secret not in told.stdout + told.stderr
        assert hashlib.sha256(secret.encode()).hexdigest()[:8] in told.stdout
    file = tmp_path / "pod.env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file], "nothing else is left"
    read = subprocess.run(
        ["sh", "-c", "set -a; . ./pod.env; env -0"], cwd=tmp_path, env={"PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    kept = dict(line.partition("=")[::2] for line in read.stdout.split("\0"))
    assert kept["DPO_GATEWAY_SHARED_SECRET"] == SECRET
    assert kept["DPO_REGISTER_SECRET"] == REGISTER_SECRET
    assert kept["DATABASE_URL"] == url


def test_a_database_password_is_never_shown(oncetune: Oncetune) -> None:
    for url in (
        "postgresql://ann:hidden-word@127.0.0.1:9/x",
        "postgresql://127.0.0.1:9/x?user=ann&password=hidden-word",
    ):
        for words in ((), ("--json",)):
            told = oncetune("preflight", *words, DATABASE_URL=url)
            assert told.returncode == 1
            assert "127.0.0.1" in told.stdout
            assert "hidden-word" not in told.stdout + told.stderr


@pytest.mark.parametrize("url", [GATEWAY + "?key=hidden-word", "https://ann:hidden-word@gateway.example.com/register"])
def test_a_token_in_the_register_url_is_never_shown(oncetune: Oncetune, url: str) -> None:
    for words in ((), ("--json",)):
        told = oncetune("preflight", *words, DPO_REGISTER_URL=url)
        assert "gateway.example.com" in told.stdout
        assert "hidden-word" not in told.stdout + told.stderr


def test_a_file_that_is_there_stays_as_it_is_when_a_check_fails(
    oncetune: Oncetune, whole: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "pod.env").write_text("as before")
    told = oncetune("preflight", "--env", "pod.env", **(whole | {"DPO_GATEWAY_SHARED_SECRET": "short"}))
    assert told.returncode == 1
    assert "pod.env was not written" in told.stderr
    assert (tmp_path / "pod.env").read_text() == "as before"


def test_a_file_that_is_there_is_never_written_over(oncetune: Oncetune, whole: dict[str, str], tmp_path: Path) -> None:
    words = ("--env", "pod.env", "--min-free-mb", "0", "--port", str(free_port()))
    assert oncetune("preflight", *words, **whole).returncode == 0
    before = (tmp_path / "pod.env").read_bytes()
    again = oncetune("preflight", *words, **whole | {"APP_API_TOKEN": ""})
    assert again.returncode == 1
    assert "pod.env is there already" in again.stderr
    assert (tmp_path / "pod.env").read_bytes() == before


def test_a_file_that_cannot_be_written_is_a_failure_with_a_hint(oncetune: Oncetune, whole: dict[str, str]) -> None:
    told = oncetune("preflight", "--env", "nowhere/pod.env", "--min-free-mb", "0", **whole)
    assert told.returncode == 1
    assert "--env" in told.stderr
    assert "Traceback" not in told.stderr


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


def test_the_service_starts_with_the_file_and_the_doctor_finds_it_well(
    oncetune: Oncetune, whole: dict[str, str], tmp_path: Path
) -> None:
    words = ("--env", "pod.env", "--min-free-mb", "0")
    assert oncetune("preflight", *words, **whole).returncode == 0
    port = next(line for line in (tmp_path / "pod.env").read_text().splitlines() if line.startswith("ONCETUNE_PORT="))
    url = f"http://127.0.0.1:{port.partition('=')[2]}"
    start = 'set -a; . ./pod.env; exec "$0" -m oncetune.cli serve trigger status --host 127.0.0.1'
    command = ["sh", "-c", start, sys.executable]
    with subprocess.Popen(command, cwd=tmp_path, env=program_environment(), stderr=subprocess.DEVNULL) as service:
        try:
            eventually(lambda: _ready(url), seconds=30)
            told = oncetune("doctor", "--url", url, DPO_GATEWAY_SHARED_SECRET=SECRET)
        finally:
            service.send_signal(signal.SIGTERM)
    assert told.returncode == 0, told.stdout


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


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
