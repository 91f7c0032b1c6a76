"""The training child: started with a clean environment, listened to line by line, ended as a whole."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from contextvars import copy_context
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from oncetune.contracts.progress import Finished, Progress, Refused, child_line
from oncetune.logs import log
from oncetune.tracing import current_traceparent

LOG_NAME = "training.log"
MAX_LINE = 64 * 1024
# glibc would give the large temporaries of a CPU step back to the kernel each time: 1.6 times slower without these.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
_OURS = ("DATABASE_URL", "DPO_", "DAPR_", "APP_API_TOKEN", "PG", "ONCETUNE_", "OTEL_", "TRACEPARENT")
_SECRET_WORDS = ("SECRET", "PASSWORD", "TOKEN", "API_KEY")
_FOR_MODELS = "HF_"  # the hub's token fetches private models


def _may_know(name: str) -> bool:
    secret = any(word in name.upper() for word in _SECRET_WORDS) and not name.startswith(_FOR_MODELS)
    return not secret and not name.startswith(_OURS)


def child_environment(model_cache: Path) -> dict[str, str]:
    """The trainer's environment without its settings and secrets, with what training needs and the current trace."""
    kept = {name: value for name, value in os.environ.items() if _may_know(name)}
    ours = {"HF_HUB_DISABLE_TELEMETRY": "1", "ONCETUNE_MODEL_CACHE": str(model_cache)}
    if (trace := current_traceparent()) is not None:
        ours["TRACEPARENT"] = trace
    return kept | _MALLOC | ours


class Child(AbstractContextManager["Child"]):
    """One `command FOLDER`; leaving the block means that it and its descendants are gone. Raises OSError at its start.

    It also dies by itself when this process does: its standard input ends then.
    """

    def __init__(
        self,
        command: tuple[str, ...],
        folder: Path,
        *,
        model_cache: Path,
        grace: timedelta,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._grace = grace.total_seconds()
        self._on_progress = on_progress
        self.result: Finished | Refused | None = None
        with (folder / LOG_NAME).open("wb") as training_log:
            self._process = subprocess.Popen(
                [*command, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=training_log,
                env=child_environment(model_cache),
                start_new_session=True,
            )
        assert self._process.stdout is not None
        read = partial(copy_context().run, self._read, self._process.stdout)  # its lines tell of the same run
        self._reader = threading.Thread(target=read, name="child", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

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
        self._reader.join(self._grace)
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
