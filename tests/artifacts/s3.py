"""A real S3 server on a free port of 127.0.0.1: versitygw over a folder, which `make s3` builds."""

import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deadline import eventually
from tests.serving import free_port

PROGRAM = Path(__file__).with_name("versitygw") / "bin" / "versitygw"
BUCKET = "results"
ACCESS, SECRET = "AKTESTTESTTESTTESTTE", "a-secret-of-the-tests-only-and-long"


@dataclass
class S3Server:
    """The server; its objects are files of `folder`."""

    folder: Path
    port: int
    _process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """What its clients are told."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Up when this returns."""
        login = ("--access", ACCESS, "--secret", SECRET, "--port", f"127.0.0.1:{self.port}", "--quiet")
        self._process = process = subprocess.Popen(
            [PROGRAM, *login, "posix", self.folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(lambda: _listens(self.port) or process.poll() is not None)
        assert process.poll() is None, "the S3 server ended at its start"

    def kill(self) -> None:
        """At once, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def objects(self) -> dict[str, bytes]:
        """Every object of the bucket by its key, as it lies on the server's disk."""
        root = self.folder / BUCKET
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and not path.relative_to(root).parts[0].startswith(".")
        }


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """With an empty bucket."""
    assert PROGRAM.exists(), "build it with `make s3`"
    (folder / BUCKET).mkdir(parents=True)
    server = S3Server(folder, free_port())
    server.start()
    try:
        yield server
    finally:
        server.kill()


def told(monkeypatch: pytest.MonkeyPatch, server: S3Server) -> None:
    """Let this process and its children be clients of the server."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
