"""`oncetune preflight`: what it derives from three inputs, what it shows, and what it writes."""

import hashlib
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from sqlalchemy import make_url

from tests.cli.conftest import GATEWAY, REGISTER_SECRET, SECRET, Oncetune, Preflight
from tests.deadline import eventually
from tests.serving import free_port
from tests.stack import program_environment


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
