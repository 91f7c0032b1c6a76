"""The training child: started with the environment that is its own, listened to line by line, ended as a whole."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from contextvars import copy_context
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from oncetune.artifacts.store import LOG_NAME
from oncetune.contracts.progress import Finished, Progress, Refused, child_line
from oncetune.logs import log
from oncetune.trainer.training_log import keep_output

MAX_LINE = 64 * 1024


class NotStarted(Exception):
    """The system does not run the command; says why."""


class Child(AbstractContextManager["Child"]):
    """One `command FOLDER`; leaving the block means that it and its descendants are gone.

    Raises NotStarted, or OSError for a disk that takes no log.

    It also dies by itself when this process does: its standard input ends then.
    """

    def __init__(
        self,
        command: tuple[str, ...],
        folder: Path,
        *,
        environment: Mapping[str, str],
        grace: timedelta,
        max_log_bytes: int,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._grace = grace.total_seconds()
        self._on_progress = on_progress
        self._said_all_at: float | None = None
        self.result: Finished | Refused | None = None
        with ExitStack() as opened:
            training_log = opened.enter_context((folder / LOG_NAME).open("ab", buffering=0))  # after earlier children
            self._process = _start([*command, str(folder)], environment)
            opened.pop_all()  # the thread closes it
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        read = partial(copy_context().run, self._read, self._process.stdout)  # its lines tell of the same run
        self._reader = threading.Thread(target=read, name="child", daemon=True)
        self._keeper = threading.Thread(
            target=keep_output,
            args=(self._process.stderr, training_log),
            kwargs={"limit": max_log_bytes},
            name="training-log",
            daemon=True,
        )
        self._reader.start()
        self._keeper.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lingers(self) -> bool:
        """Whether it had the grace to end after its last word, and lives."""
        return self._said_all_at is not None and time.monotonic() - self._said_all_at > self._grace

    def wait(self, seconds: float) -> int | None:
        """The exit status once the child has ended and all it said was read; None after `seconds`."""
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join(self._grace)
        return status

    def __exit__(self, *_exc: object) -> None:
        self.end()

    def end(self) -> None:
        """SIGTERM to the whole group, SIGKILL after the grace; returns when the child is reaped."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self._process.wait(self._grace)
            except subprocess.TimeoutExpired:
                log.warning("child.stubborn", pid=self._process.pid)
        self._signal(signal.SIGKILL)  # descendants that the child left behind, too
        self._process.wait()
        for thread in (self._reader, self._keeper):
            thread.join(self._grace)
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _read(self, lines: IO[bytes]) -> None:
        with lines:  # closed here: a descendant that left the group may hold its other end, and would hold us up
            while line := lines.readline(MAX_LINE):
                rest = line
                while len(rest) == MAX_LINE and not rest.endswith(b"\n"):  # a huge line: its end says nothing
                    rest = lines.readline(MAX_LINE)
                try:
                    said = child_line.validate_json(line)
                except ValidationError:
                    log.warning("child.unreadable_line", bytes=len(line))
                    continue
                if isinstance(said, Progress):
                    self._on_progress(said)
                else:
                    self.result = said
                    self._said_all_at = self._said_all_at or time.monotonic()


def _start(command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True)
    except OSError as error:
        raise NotStarted(error.strerror or str(error)) from error
