"""The worker: waits for a lease, makes the attempt, and again. SIGTERM ends it after a clean release.

Beside it the sweeper, in a thread of its own: a run that was delivered does not wait for what takes minutes.
"""

import shutil
import threading
from contextlib import AbstractContextManager

from sqlalchemy import Engine

from oncetune.artifacts.stores import open_store
from oncetune.ledger.leases import EndReason, Lease, end_lease
from oncetune.logs import Outage, about, log
from oncetune.postgres import DATABASE_AWAY, transaction
from oncetune.tracing import span
from oncetune.trainer.attempt import Attempt
from oncetune.trainer.publishing import reason_of
from oncetune.trainer.settings import TrainerSettings
from oncetune.trainer.slot import Slot
from oncetune.trainer.sweep import sweep


class Worker(AbstractContextManager["Worker"]):
    """Leaving the block closes the slot, ends and reaps the child, and releases the run.

    `beats` is an engine that keeps no connection open.
    """

    def __init__(self, engine: Engine, beats: Engine, slot: Slot, settings: TrainerSettings) -> None:
        self._engine = engine
        self._beats = beats
        self._slot = slot
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="worker")
        self._sweeper = threading.Thread(target=self._sweep_now_and_then, name="sweeper")

    def __enter__(self) -> "Worker":
        shutil.rmtree(self._settings.staging, ignore_errors=True)  # of a life before: nobody reads it
        self._thread.start()
        self._sweeper.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._slot.close()
        self._thread.join()
        if (waiting := self._slot.left_over()) is not None:
            self._release(waiting)
        self._sweeper.join()

    def _work(self) -> None:
        outage = Outage(away="claim.waits", back="claim.resumed")
        while not self._stop.is_set():
            try:
                lease = self._slot.wait_for_lease(self._settings.poll_every, answered=outage.over)
            except DATABASE_AWAY as error:
                outage.goes_on(error)
            except Exception:  # noqa: BLE001 - the outermost loop: a bug is shouted about, and the next poll tries again
                log.exception("claim.broken")
            else:
                if lease is not None:
                    outage.over()  # the claim of a delivery is an answer, too
                    self._attempt(lease)

    def _sweep_now_and_then(self) -> None:
        settings = self._settings
        pause = max(settings.sweep_every, settings.poll_every).total_seconds()
        store, root, batch = open_store(settings.artifacts), settings.checkpoint_root, settings.sweep_batch
        while not self._stop.is_set():
            try:
                sweep(self._beats, store, root, batch=batch, kept=settings.artifacts_kept, stop=self._stop)
            except OSError as error:
                log.warning("artifacts.away", place=str(settings.artifacts), reason=reason_of(error))
            except DATABASE_AWAY as error:
                log.warning("sweep.put_off", reason=type(error).__name__)
            except Exception:  # noqa: BLE001 - the outermost loop of its thread: a bug is shouted about
                log.exception("sweep.broken")
            self._stop.wait(pause)

    def _attempt(self, lease: Lease) -> None:
        named = {"oncetune.run_id": str(lease.run_id), "oncetune.attempt": str(lease.attempt)}
        with about(run_id=str(lease.run_id)), span("train", traceparent=lease.traceparent, attributes=named):
            log.info("run.claimed", outcome="ok", attempt=lease.attempt, worker=self._settings.name)
            try:
                Attempt(self._engine, self._beats, self._settings, lease, self._stop).run()
            except Exception:  # noqa: BLE001 - the outermost loop: a bug ends this attempt by its lease, not the trainer
                log.exception("attempt.broken", attempt=lease.attempt)
            finally:
                self._slot.free()

    def _release(self, lease: Lease) -> None:
        try:
            with transaction(self._engine) as session:
                end_lease(session, lease.run_id, lease.attempt, reason=EndReason.RELEASED, rule=self._settings.strikes)
        except DATABASE_AWAY as error:
            log.warning("release.failed", run_id=str(lease.run_id), reason=type(error).__name__)
