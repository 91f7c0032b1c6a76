"""What must hold before anything starts."""

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from oncetune.local.credentials import Credentials, credentials, read_gateway_secret
from oncetune.local.preflight import (
    CannotStart,
    free_ports,
    prepare_folder,
    require_port,
    require_space,
    sole_user,
    unusable,
)


def test_a_busy_port_is_named_with_the_option_that_changes_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CannotStart) as refusal:
            require_port(port)
    assert str(port) in refusal.value.what
    assert "--port" in refusal.value.remedy


def test_free_ports_are_free_and_all_different() -> None:
    ports = free_ports(9)
    assert len(set(ports)) == 9
    for port in ports:
        require_port(port)


def test_a_file_in_place_of_the_data_folder_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(CannotStart, match="is a file"):
        prepare_folder(tmp_path / "data")


def test_a_file_above_the_data_folder_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(CannotStart, match="not a directory"):
        prepare_folder(tmp_path / "file" / "data")


def test_a_folder_that_cannot_be_made_says_which_and_what_to_do() -> None:
    with pytest.raises(CannotStart) as refusal:
        prepare_folder(Path("/proc/oncetune"))
    assert "/proc/oncetune" in refusal.value.what
    assert "--data" in refusal.value.remedy


def test_too_little_free_space_is_refused_with_both_figures(tmp_path: Path) -> None:
    require_space(tmp_path, 1)
    with pytest.raises(CannotStart, match=r"MiB free; at least 1125899906842624 MiB are needed"):
        require_space(tmp_path, 2**70)


def test_a_disk_that_fills_up_later_is_told_as_a_full_disk() -> None:
    with pytest.raises(OSError, match="No space left") as full, Path("/dev/full").open("wb", buffering=0) as device:
        device.write(b"x")
    assert "is full" in unusable(Path("/data"), full.value).what


def test_a_data_folder_has_one_user_at_a_time_and_its_end_frees_it(tmp_path: Path) -> None:
    prepare_folder(tmp_path)
    code = """
import sys
from pathlib import Path
from oncetune.local.preflight import sole_user
with sole_user(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(CannotStart, match=f"process {holder.pid}"), sole_user(tmp_path):
            pass
        holder.kill()
    with sole_user(tmp_path):
        pass


def test_who_begins_in_the_same_moment_has_the_same_secrets(tmp_path: Path) -> None:
    prepare_folder(tmp_path)
    together = Barrier(8)

    def begin(_: int) -> Credentials:
        together.wait()
        return credentials(tmp_path)

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(begin, range(8)))) == 1


def test_secrets_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    prepare_folder(tmp_path)
    first = credentials(tmp_path)
    assert credentials(tmp_path) == first
    assert read_gateway_secret(tmp_path) == first.gateway_secret
    assert len({first.gateway_secret, first.app_token, first.dapr_token, first.broker_password}) == 4
    for file in (tmp_path / "secrets").iterdir():
        assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
