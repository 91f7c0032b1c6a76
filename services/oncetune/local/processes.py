"""Start programs, watch over them, stop them in order: none is left behind, and a service that dies comes back.

Each program leads a session of its own, so that Ctrl-C in the terminal reaches only us. On Linux the kernel sends it
its `death_signal` when the thread that started it ends: programs are started by the main thread and by the watcher,
which both outlive them.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event, Lock, Thread

from oncetune.local.logfiles import Tail, last_lines, open_log
from oncetune.local.preflight import CannotStart
from oncetune.local.signals import Signals

_LOOK_SECONDS = 0.05
_FIRST_RESTART_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_REPEAT_AFTER_SECONDS = 30.0
_SETTLED_SECONDS = 60.0  # after so long a life, the next restart is quick again
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # before a fork: nothing may be loaded after it


@dataclass(frozen=True)
class Program:
    """How to run one program. Programs of a higher `stage` depend on those of a lower one and stop before them."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    stage: int
    speaks: bool = False  # its log is ours, one JSON line an event: warnings are shown
    stop_signal: signal.Signals = signal.SIGTERM
    kill_signal: signal.Signals = signal.SIGKILL
    death_signal: signal.Signals = signal.SIGKILL
    account: str | None = None  # a system user to run as; only root may
    grace: timedelta = timedelta(seconds=20)
    output: Path | None = None  # standard output goes here instead of into the log


@dataclass
class _Running:
    program: Program
    process: subprocess.Popen[bytes]
    log: Path
    tail: Tail
    lasting: bool = True  # it should run until the end: started again when it dies
    started: float = field(default_factory=time.monotonic)
    pause: float = _FIRST_RESTART_SECONDS
    restart_at: float | None = None
    heard: dict[str, float] = field(default_factory=dict)  # what was told lately, and when

    def unheard(self, lines: list[str]) -> list[str]:
        """Those that were not told in the last half minute: an outage is not told four times a second."""
        now = time.monotonic()
        self.heard = {line: told for line, told in self.heard.items() if now - told < _REPEAT_AFTER_SECONDS}
        fresh = [line for line in dict.fromkeys(lines) if line not in self.heard]
        self.heard.update(dict.fromkeys(fresh, now))
        return fresh


class Processes:
    """The programs of one stack. `start` and `run` belong to one thread; `pids` may be read by any."""

    def __init__(
        self,
        logs: Path,
        *,
        signals: Signals,
        tell: Callable[[str], None],
        longest_pause: float = _LONGEST_PAUSE_SECONDS,  # before a program that ended is started again
    ) -> None:
        self._logs = logs
        self._longest_pause = longest_pause
        self._signals = signals
        self._tell = tell
        self._running: dict[str, _Running] = {}
        self._lock = Lock()
        self._stopping = Event()
        self._watcher: Thread | None = None

    def start(self, program: Program) -> None:
        """Start a program and go on at once; it is stopped with the others."""
        self._start(program, lasting=True)

    def _start(self, program: Program, *, lasting: bool) -> subprocess.Popen[bytes]:
        self._signals.check()
        log = self._logs / f"{program.name}.log"
        tail = Tail(log)
        process = _spawn(program, log)
        with self._lock:
            self._running[program.name] = _Running(program, process, log, tail, lasting)
        return process

    def wait_until(self, ready: Callable[[], bool], *, program: str, deadline: timedelta, what: str) -> None:
        """Return once `ready()`. Raises CannotStart when the program ends before or time runs out."""
        until = time.monotonic() + deadline.total_seconds()
        while not ready():
            self._signals.check()
            if self._running[program].process.poll() is not None:
                raise self.failure(program, f"{program} ended while it was starting")
            if time.monotonic() > until:
                raise self.failure(program, f"{what} did not come within {deadline.total_seconds():.0f} seconds")
            time.sleep(_LOOK_SECONDS)

    def run(self, program: Program, *, deadline: timedelta) -> None:
        """Run a program to its end. Raises CannotStart when it fails or takes longer than `deadline`."""
        process = self._start(program, lasting=False)
        try:
            end = f"the end of {program.name}"
            self.wait_until(lambda: process.poll() is not None, program=program.name, deadline=deadline, what=end)
        finally:
            self._end([self._running[program.name]])
            with self._lock:
                del self._running[program.name]
        if process.returncode:
            raise self.failure(program.name, f"{program.name} failed with exit code {process.returncode}")

    def failure(self, name: str, what: str) -> CannotStart:
        """What to tell a person about a program that failed: the end of its log and where the rest is."""
        log = self._logs / f"{name}.log"
        said = "\n".join(f"    {line[:300]}" for line in last_lines(log, 10))
        return CannotStart(f"{what}.\n{said}" if said else f"{what}.", f"Its log is {log}.")

    def pids(self) -> dict[str, int]:
        """The process id of each program that runs now, by name."""
        with self._lock:
            return {name: one.process.pid for name, one in self._running.items() if one.process.returncode is None}

    def watch(self) -> None:
        """From now on, show warnings of services and start again, with growing pauses, what ends by itself."""
        self._watcher = Thread(target=self._watch, name="watch", daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        """End every program, dependents first, and return when none runs. May be called twice."""
        with self._lock:
            self._stopping.set()  # under the lock: a restart is either done and known, or never made
        stages = sorted({one.program.stage for one in self._running.values()}, reverse=True)
        for stage in stages:
            self._end([one for one in self._running.values() if one.program.stage == stage])
        if self._watcher is not None:
            self._watcher.join()

    def _watch(self) -> None:
        while not self._stopping.wait(0.2):
            self._look_after_all()
        while any(one.process.poll() is None for one in self._running.values()):
            time.sleep(_LOOK_SECONDS)  # what this thread started would be killed by its end

    def _look_after_all(self) -> None:
        for one in list(self._running.values()):
            if one.program.speaks:
                for line in one.unheard(one.tail.warnings()):
                    self._tell(f"{one.program.name}: {line}")
            with self._lock:
                if not self._stopping.is_set():
                    self._look_after(one)

    def _look_after(self, one: _Running) -> None:
        if not one.lasting or one.process.poll() is None:
            return
        now = time.monotonic()
        if one.restart_at is None:
            one.pause = _FIRST_RESTART_SECONDS if now - one.started > _SETTLED_SECONDS else one.pause
            one.restart_at = now + min(one.pause, self._longest_pause)
            self._tell(f"{one.program.name} ended ({_how(one.process.returncode)}); starting it again")
        elif now >= one.restart_at:
            one.pause, one.restart_at, one.started = min(2 * one.pause, self._longest_pause), None, now
            try:
                one.process = _spawn(one.program, one.log)
            except OSError as error:  # no memory, no disk: the next try is booked already
                self._tell(f"{one.program.name} does not start: {error.strerror}")

    def _end(self, group: list[_Running]) -> None:
        for one in group:
            _signal(one, one.program.stop_signal)
        since = time.monotonic()
        killed = 0.0
        while alive := [one for one in group if one.process.poll() is None]:
            elapsed = time.monotonic() - since
            if killed and elapsed - killed > 5:
                for one in alive:
                    _signal(one, signal.SIGKILL)
            elif not killed and (self._signals.forced or elapsed > max(o.program.grace.total_seconds() for o in alive)):
                killed = elapsed
                for one in alive:
                    _signal(one, one.program.kill_signal)
            time.sleep(_LOOK_SECONDS)


def _signal(one: _Running, number: signal.Signals) -> None:
    if one.process.poll() is None:
        with suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(one.process.pid, number)  # with whatever it started
            else:
                one.process.send_signal(number)


def _spawn(program: Program, log: Path) -> subprocess.Popen[bytes]:
    parent = os.getpid()
    death_signal = int(program.death_signal)

    def die_with_parent() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, death_signal)
            if os.getppid() != parent:  # it died before the line above
                os._exit(1)

    with open_log(log) as errors, program.output.open("wb") if program.output else nullcontext(errors) as output:
        return subprocess.Popen(
            program.command,
            env=dict(program.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
            preexec_fn=die_with_parent,
            user=program.account,
            group=program.account,
            extra_groups=[] if program.account else None,
        )


def _how(returncode: int) -> str:
    return f"signal {signal.Signals(-returncode).name}" if returncode < 0 else f"exit code {returncode}"
