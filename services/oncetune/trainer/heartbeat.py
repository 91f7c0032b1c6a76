"""The heartbeat of one attempt: a thread that renews its lease, carries progress, and learns of its end."""

import threading
import time
from contextlib import AbstractContextManager
from contextvars import copy_context
from datetime import timedelta
from enum import StrEnum
from functools import partial

from sqlalchemy import Engine

from oncetune.contracts.progress import Progress
from oncetune.ledger.leases import Lease, LeaseLost, holds_lease, renew_lease
from oncetune.logs import Outage, log
from oncetune.postgres import DATABASE_AWAY, transaction
from oncetune.telemetry import training

MAX_PROGRESS_EVENTS = 20  # an attempt; each heartbeat overwrites the run's progress all the same


def _mark(progress: Progress | None) -> int:
    """How many twentieths of its steps the child has made; a child that counts beyond its steps gets no more."""
    if progress is None or not progress.steps:
        return 0
    if progress.resumed_from_step:  # told at once: the trail has to say it, however soon the attempt ends
        return max(1, MAX_PROGRESS_EVENTS * min(progress.step, progress.steps) // progress.steps)
    return MAX_PROGRESS_EVENTS * min(progress.step, progress.steps) // progress.steps


def _place(progress: Progress | None) -> tuple[str, int, int] | None:
    return None if progress is None else (progress.phase, progress.step, progress.part)


class Verdict(StrEnum):
    """Why an attempt has to stop."""

    LOST = "lost"  # another attempt owns the run, or it has ended
    CANCELLED = "cancelled"
    OUTAGE = "outage"  # the database was away for longer than lease and grace


class Heartbeat(AbstractContextManager["Heartbeat"]):
    """Beats at once and then every `every`, until the block is left; `judged` is set with the verdict."""

    def __init__(self, engine: Engine, lease: Lease, *, every: timedelta, patience: timedelta) -> None:
        self._engine = engine
        self._lease = lease
        self._every = every.total_seconds()
        self._patience = patience.total_seconds()
        self._told = 0
        self._stop = threading.Event()
        beat = partial(copy_context().run, self._beat)  # its lines tell of the same run
        self._thread = threading.Thread(target=beat, name=f"heartbeat-{lease.run_id}", daemon=True)
        self._progress: Progress | None = None
        self._moved = time.monotonic()
        self.verdict: Verdict | None = None
        self.judged = threading.Event()

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()
        training.end()

    def tell(self, progress: Progress) -> None:
        """What the child said last; the next beat carries it. Any thread may call this."""
        if _place(progress) != _place(self._progress):
            self._moved = time.monotonic()
        self._progress = progress
        training.tell(progress)

    def begin(self) -> None:
        """A child starts, and has all of its time before it."""
        self._moved = time.monotonic()

    @property
    def still_for(self) -> float:
        """Seconds since the child got any further; words that say the same again are no progress."""
        return time.monotonic() - self._moved

    @property
    def checkpoint_step(self) -> int | None:
        """The newest checkpoint that the child told of."""
        return None if self._progress is None else self._progress.checkpoint_step

    def stop(self) -> None:
        """No beat is in flight after this: a finish that follows cannot be mistaken for a lost lease."""
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        last_success = time.monotonic()
        outage = Outage(away="lease.not_renewed", back="lease.renewed", attempt=self._lease.attempt)
        while not self._stop.is_set():
            try:
                self._renew()
                last_success = time.monotonic()
                outage.over()
            except DATABASE_AWAY as error:
                outage.goes_on(error)
            except Exception:  # noqa: BLE001 - the outermost loop of its thread: a bug is shouted about
                log.exception("heartbeat.broken", attempt=self._lease.attempt)
            if self.verdict is None and time.monotonic() - last_success > self._patience:
                self._judge(Verdict.OUTAGE)
            if self.verdict is not None:
                return
            self._stop.wait(self._every)

    def _renew(self) -> None:
        progress = self._progress
        mark = _mark(progress)
        try:
            with transaction(self._engine) as session:
                cancelled = renew_lease(session, self._lease, progress=progress, as_event=mark > self._told)
            self._told = max(self._told, mark)
        except LeaseLost:  # no row back means unknown: read before believing it
            with transaction(self._engine) as session:
                held = holds_lease(session, self._lease)
            if not held:
                self._judge(Verdict.LOST)
            return
        if cancelled:
            self._judge(Verdict.CANCELLED)

    def _judge(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.judged.set()
