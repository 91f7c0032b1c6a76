"""A real broker that can be started, killed and emptied, on this machine, wherever its program comes from."""

import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.deadline import eventually

HOST = "127.0.0.1"
USER, PASSWORD = "oncetune", "password-of-the-tests"


class Runner(Protocol):
    """How the server's process lives: as a program of this machine or in a container."""

    kind: str

    def start(self) -> None: ...

    def kill(self) -> None: ...

    def wipe(self) -> None: ...


@dataclass
class Broker:
    """One broker. `name` is its folder in components/brokers; a sidecar reads what `access(password)` returns."""

    name: str
    runner: Runner
    port: int
    access: Callable[[str], Mapping[str, str]]
    greeting: tuple[bytes, bytes]  # what one says to it, and how its answer begins; empty: it listens
    prepare: Callable[[], None] = lambda: None  # what must be there before a sidecar comes

    def start(self) -> None:
        """Return when it answers."""
        self.runner.start()
        eventually(self._answers, seconds=60, every=0.1)
        self.prepare()

    def kill(self) -> None:
        """At once, as a node dies. What it has stored stays."""
        self.runner.kill()

    def wipe(self) -> None:
        """While it is down: nothing of what it has stored is left."""
        self.runner.wipe()

    def _answers(self) -> bool:
        words, answer = self.greeting
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                connection.sendall(words)
                return not answer or connection.recv(64).startswith(answer)
        except OSError:
            return False


@dataclass
class Package:
    """A server from a wheel, a Debian package or Maven, with its data in `folder`."""

    kind: str
    command: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    before: Callable[[], None] = lambda: None  # makes the empty folder ready for the server
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        if not self.folder.exists():
            self.folder.mkdir(parents=True)
            self.before()
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(self.command, env=self.environment, stdout=log, stderr=log)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def wipe(self) -> None:
        shutil.rmtree(self.folder)
