import os
import stat
from itertools import pairwise
from pathlib import Path

import pytest

from oncetune.local.preflight import CannotStart
from oncetune.local.sidecar import (
    Broker,
    SidecarPorts,
    app_environment,
    daprd_command,
    daprd_environment,
    find_daprd,
    find_valkey,
    valkey_command,
)

BROKER = Broker(6379, "a-password")
PORTS = SidecarPorts(app=8080, http=3500, grpc=50001, internal=50002)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout in which no daprd was built."""
    monkeypatch.setattr("oncetune.local.sidecar._CHECKOUT", tmp_path / "checkout")
    return tmp_path / "checkout"


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_daprd_is_found_where_it_is_named_built_on_the_path_or_in_the_dapr_clis_folder(tmp_path, checkout):
    environment = {"PATH": str(tmp_path / "path"), "HOME": str(tmp_path / "home")}
    assert find_daprd(environment) is None
    cli = program(tmp_path / "home/.dapr/bin/daprd")
    assert find_daprd(environment) == cli
    on_path = program(tmp_path / "path/daprd")
    assert find_daprd(environment) == on_path
    built = program(checkout / "components/daprd/bin/daprd")
    assert find_daprd(environment) == built
    named = program(tmp_path / "mine")
    assert find_daprd(environment | {"DAPRD": str(named)}) == named


def test_a_named_daprd_that_cannot_run_is_said_and_not_passed_over(tmp_path):
    (tmp_path / "daprd").touch(mode=0o644)
    for wrong in (tmp_path / "daprd", tmp_path / "nowhere"):
        with pytest.raises(CannotStart, match="DAPRD="):
            find_daprd({"DAPRD": str(wrong)})


def test_the_brokers_server_is_in_its_wheel():
    valkey = find_valkey()
    assert valkey and os.access(valkey, os.X_OK)


def test_no_secret_stands_in_a_command_that_every_user_of_the_machine_can_read(tmp_path):
    folder = tmp_path / "broker"
    broker = valkey_command(Path("valkey-server"), folder, BROKER)
    daprd = daprd_command(Path("daprd"), Path("components"), ("trigger", "status"), PORTS)
    environment = daprd_environment(BROKER, app_token="app-token", dapr_token="dapr-token")
    secrets = {"a-password", "app-token", "dapr-token"}
    assert secrets <= set(environment.values())
    assert not any(secret in word for word in broker + daprd for secret in secrets)
    assert stat.S_IMODE((folder / "valkey.conf").stat().st_mode) == 0o600
    assert "requirepass a-password\n" in (folder / "valkey.conf").read_text()


def test_sidecar_and_application_are_told_the_same_ports():
    command = daprd_command(Path("daprd"), Path("components"), ("trainer",), PORTS)
    given = dict(pairwise(command))
    assert given["--app-id"] == "oncetune-trainer"
    assert (given["--app-port"], given["--dapr-http-port"], given["--dapr-grpc-port"]) == ("8080", "3500", "50001")
    assert app_environment(PORTS) == {"DAPR_HTTP_PORT": "3500", "DAPR_GRPC_PORT": "50001"}
    assert given["--dapr-listen-addresses"] == given["--dapr-internal-grpc-listen-address"] == "127.0.0.1"
