"""The bundled broker's own command, run by a real shell: whatever its Secret holds is its password."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import valkey

from oncetune.local.sidecar import find_valkey
from tests.deadline import eventually
from tests.helm.chart import Object, named, objects, profile
from tests.serving import free_port

ODD = ["hunter2", "two  words ", """don't "quote" \\ me""", "#no $comment `date` %s\n", "pässwörd", "'", '"', "\\x41"]


def broker(**more: object) -> Object:
    """The bundled broker's container."""
    spec = named(objects(profile("minikube", broker=more)), "StatefulSet", "oncetune-broker")["spec"]["template"][
        "spec"
    ]
    (container,) = spec["containers"]
    found: Object = container
    return found


def script(folder: Path, server: str) -> list[str]:
    """What the container runs, with folders of the test in place of its volumes."""
    shell, flags, text = broker(bundled={"command": server})["command"]
    return [shell, flags, text.replace("/var/run/broker", str(folder)).replace("dir /data", f"dir {folder}")]


@contextmanager
def running(folder: Path, password: str) -> Iterator[int]:
    """The server that the container's command starts: its port on 127.0.0.1."""
    server, port = find_valkey(), free_port()
    assert server is not None
    shell, flags, text = script(folder, str(server))
    command = [shell, flags, f"{text.rstrip()} --bind 127.0.0.1 --port {port}"]
    environment = {"PATH": os.environ["PATH"], "PASSWORD": password}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield port
        finally:
            os.killpg(process.pid, signal.SIGTERM)


@pytest.mark.parametrize("password", ODD, ids=ascii)
def test_whatever_the_secret_holds_is_the_brokers_password_and_nothing_else_is(tmp_path: Path, password: str) -> None:
    with running(tmp_path, password) as port:

        def let_in(word: str) -> bool:
            try:
                with valkey.Valkey("127.0.0.1", port, password=word) as client:
                    return bool(client.ping())
            except valkey.AuthenticationError:
                return False

        eventually(lambda: listens(port))
        assert let_in(password)
        assert not let_in(password.strip() + "x")
        with valkey.Valkey("127.0.0.1", port, password=password) as client:
            assert client.config_get("appendonly") == {"appendonly": "yes"}  # the rest of the file is read, too
    assert (tmp_path / "broker.conf").stat().st_mode & 0o077 == 0


def listens(port: int) -> bool:
    try:
        with valkey.Valkey("127.0.0.1", port) as client:
            client.ping()
    except valkey.AuthenticationError:
        return True
    except valkey.ConnectionError:
        return False
    return False


def test_a_broker_without_a_password_ends_and_says_which_secret_is_empty(tmp_path: Path) -> None:
    ended = subprocess.run(
        script(tmp_path, "true"), env={"PATH": os.environ["PATH"], "PASSWORD": ""}, capture_output=True, text=True
    )
    assert ended.returncode != 0
    assert "the key password of the Secret oncetune-broker is empty" in ended.stderr


def test_the_bundled_broker_and_the_sidecars_read_the_same_key() -> None:
    (read,) = broker(secretEnv={"ONCETUNE_REDIS_PASSWORD": "redis"})["env"]
    assert read["valueFrom"]["secretKeyRef"] == {"name": "oncetune-broker", "key": "redis"}
