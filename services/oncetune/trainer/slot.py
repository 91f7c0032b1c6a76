"""The trainer's one place for an attempt: taken first, then the ledger is asked for a run to put there."""

import queue
import threading
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import Engine

from oncetune.ledger.leases import Lease, claim_run
from oncetune.postgres import transaction


class Offer(StrEnum):
    """What became of a delivered run.requested."""

    CLAIMED = "claimed"
    BUSY = "busy"  # this trainer's poll, or another trainer, claims it later
    NOTHING = "nothing"  # a repeat: the run is claimed, ended, or waits out its backoff


def _nothing() -> None:
    """Nobody wants to know."""


class Slot:
    """Deliveries (many threads) and the worker (one thread) compete for it; at most one lease is held."""

    def __init__(self, engine: Engine, *, worker: str, lease: timedelta) -> None:
        self._engine = engine
        self._worker = worker
        self._lease = lease
        self._taken = threading.Lock()
        self._claimed: queue.SimpleQueue[Lease | None] = queue.SimpleQueue()  # None: wake up, there is no more
        self._closed = threading.Event()
        self._claim_id = uuid4()

    def offer(self, run_id: UUID) -> Offer:
        """Claim this very run for the worker, by the poll's own rules. Raises sqlalchemy's OperationalError."""
        if not self._take():
            return Offer.BUSY
        lease = self._claim(run_id)
        if lease is None:
            return Offer.NOTHING
        self._claimed.put(lease)
        return Offer.CLAIMED

    def wait_for_lease(self, poll: timedelta, *, answered: Callable[[], None] = _nothing) -> Lease | None:
        """The worker's own way: a lease that a delivery claimed, else after `poll` whatever waits in the ledger.

        None when nothing waits, or as soon as the slot is closed. `answered` is called when the ledger was asked and
        answered.
        """
        try:
            return self._claimed.get(timeout=poll.total_seconds())
        except queue.Empty:
            if not self._take():
                return None
        lease = self._claim(None)
        answered()
        return lease

    def free(self) -> None:
        """The attempt is over: the place can be taken again."""
        self._taken.release()

    def close(self) -> None:
        """Take nothing more, and let the worker know at once."""
        self._closed.set()
        self._claimed.put(None)

    def left_over(self) -> Lease | None:
        """The lease that a delivery claimed and the worker never began: release it."""
        while not self._claimed.empty():
            if (lease := self._claimed.get()) is not None:
                return lease
        return None

    def _take(self) -> bool:
        return not self._closed.is_set() and self._taken.acquire(blocking=False)

    def _claim(self, run_id: UUID | None) -> Lease | None:
        """Claim into the place that is taken already; gives it back unless a lease came."""
        lease = None
        try:
            with transaction(self._engine) as session:
                claimed = claim_run(
                    session, worker=self._worker, claim_id=self._claim_id, duration=self._lease, run_id=run_id
                )
            lease = claimed  # after the commit: a line that is cut in it must free the place, too
            self._claim_id = uuid4()  # not after an error: its answer is unknown, the next claim asks for it
        finally:
            if lease is None:
                self._taken.release()
        return lease
