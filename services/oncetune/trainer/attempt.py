"""One attempt at a run, from its lease to its end: stage, train, publish, finish."""

import shutil
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine

from oncetune.artifacts.folder import BrokenAdapter
from oncetune.artifacts.store import Files, Published, ResultStore
from oncetune.artifacts.stores import open_store
from oncetune.contracts.manifest import Manifest
from oncetune.contracts.progress import REFUSED_EXIT, STOPPED_EXIT, Finished, Refused
from oncetune.contracts.run import RunState
from oncetune.contracts.training_record import Phase
from oncetune.ledger.ids import new_event_id
from oncetune.ledger.leases import EndReason, Lease, LeaseLost, StoredFiles, end_lease, finish_run
from oncetune.logs import Outage, log
from oncetune.postgres import DATABASE_AWAY, transaction
from oncetune.trainer.checkpoints import clear_checkpoints
from oncetune.trainer.child import Child, NotStarted
from oncetune.trainer.child_environment import training_environment
from oncetune.trainer.heartbeat import Heartbeat, Verdict
from oncetune.trainer.outcome import Failure, Stopped, Success
from oncetune.trainer.preparation import Preparation
from oncetune.trainer.publishing import NotPublished, discard, keep_log, publish, reason_of, recorded
from oncetune.trainer.results import Results
from oncetune.trainer.settings import TrainerSettings
from oncetune.trainer.staging_disk import StagingDisk

LOOK_SECONDS = 0.1


@dataclass
class Attempt:
    """Runs in the worker's thread; `stop` is set by SIGTERM. `beats` is an engine that keeps no connection open."""

    engine: Engine
    beats: Engine
    settings: TrainerSettings
    lease: Lease
    stop: threading.Event
    folder: Path = field(init=False)
    phases: tuple[Phase, ...] = field(init=False, default=())  # before the training
    _checkpoint_step: int | None = field(init=False, default=None)
    _manifest: Manifest | None = field(init=False, default=None)
    _store: ResultStore = field(init=False)

    def __post_init__(self) -> None:
        self.folder = self.settings.staging / f"{self.lease.run_id}-{self.lease.attempt}"
        self._store = open_store(self.settings.artifacts)

    def run(self) -> None:
        """Try once. Nothing is raised for what can happen to a run; its end is in the ledger, or will be again."""
        patience = self.settings.lease + self.settings.outage_grace
        heartbeat = Heartbeat(self.beats, self.lease, every=self.settings.renew_every, patience=patience)
        published: Published | None = None
        files: Files = {}
        try:
            with heartbeat:
                outcome = self._train(heartbeat)
                self._checkpoint_step = heartbeat.checkpoint_step
                if isinstance(outcome, Success):
                    must_stop = partial(self._must_stop_within, heartbeat=heartbeat)
                    results = Results(self.engine, self.settings, self.lease, self.folder, must_stop)
                    self._manifest = results.write(self.phases)
                    published, outcome = self._publish(outcome, heartbeat)
                files = published.files if published else keep_log(self._store, self.lease, self.folder)
            self._close(outcome, published, files)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _train(self, heartbeat: Heartbeat) -> Success | Failure | Stopped:
        listen = partial(self._listen, heartbeat)
        preparation = Preparation(self.engine, self.settings, self.lease, self.folder, listen)
        try:
            ended = preparation.prepare()
            self.lease, self.phases = preparation.lease, preparation.phases
            environment = training_environment(self.settings.model_cache)
            return ended or listen("training", self.settings.training_command, environment)
        except LeaseLost:
            return Stopped(None)
        except DATABASE_AWAY as error:
            return Stopped(EndReason.RELEASED, type(error).__name__)
        except NotStarted as error:
            return Stopped(EndReason.CHILD_DIED, f"The training could not be started: {error}")
        except OSError as error:
            return Stopped(EndReason.NOT_STORED, f"The attempt could not be staged: {reason_of(error)}")

    def _listen(
        self, heartbeat: Heartbeat, phase: str, command: tuple[str, ...], environment: Mapping[str, str]
    ) -> Success | Failure | Stopped:
        """A child from its start to its end, or to ours."""
        disk = StagingDisk(self.folder)
        heartbeat.begin()
        with Child(
            command,
            self.folder,
            environment=environment,
            grace=self.settings.child_grace,
            max_log_bytes=self.settings.max_log_bytes,
            on_progress=heartbeat.tell,
        ) as child:
            log.info(f"{phase}.started", attempt=self.lease.attempt, pid=child.pid)
            while (status := child.wait(LOOK_SECONDS)) is None:
                if heartbeat.judged.is_set() or self.stop.is_set() or child.lingers:
                    break
                if child.result is None and heartbeat.still_for > self.settings.progress_deadline.total_seconds():
                    return Stopped(
                        EndReason.NO_PROGRESS, f"The {phase} made no step in {self.settings.progress_deadline}"
                    )
        return self._judge_end(status, child.result, heartbeat, disk)

    def _judge_end(
        self, status: int | None, result: Finished | Refused | None, heartbeat: Heartbeat, disk: StagingDisk
    ) -> Success | Failure | Stopped:
        """A death is none where somebody else stopped the child, or took its disk."""
        grace = self.settings.child_grace.total_seconds()
        if status in (STOPPED_EXIT, -signal.SIGTERM) and self._must_stop_within(grace, heartbeat):
            status = None  # whoever stops all processes at once may have told the child before us
        outcome = _judge(status, result, heartbeat.verdict)
        if isinstance(outcome, Stopped) and outcome.reason is EndReason.CHILD_DIED and disk.refused():
            return Stopped(EndReason.NOT_STORED, outcome.message)
        return outcome

    def _publish(self, success: Success, heartbeat: Heartbeat) -> tuple[Published | None, Success | Failure | Stopped]:
        """Store the result; while the store refuses and the run is ours, again and again for `disk_grace`."""
        must_stop = partial(self._must_stop_within, heartbeat=heartbeat)
        try:
            published = publish(
                self._store, self.lease, self.folder, grace=self.settings.disk_grace, must_stop=must_stop
            )
        except BrokenAdapter as broken:
            return None, Stopped(EndReason.CHILD_DIED, f"The training left no adapter that can be stored: {broken}")
        except NotPublished as refused:
            return None, Stopped(EndReason.NOT_STORED, str(refused))
        return published, success if published else _judge(None, None, heartbeat.verdict)

    def _must_stop_within(self, seconds: float, heartbeat: Heartbeat) -> bool:
        """At once when it must; False after `seconds`."""
        end = time.monotonic() + seconds
        while not (self.stop.is_set() or heartbeat.judged.is_set()):
            if (left := end - time.monotonic()) <= 0:
                return False
            heartbeat.judged.wait(min(LOOK_SECONDS, left))
        return True

    def _close(self, outcome: Success | Failure | Stopped, published: Published | None, files: Files) -> None:
        """Tell the ledger, and again while the database is away: a finished adapter is never thrown away unasked."""
        event_id = new_event_id()
        outage = Outage(away="attempt.not_ended", back="attempt.ends", attempt=self.lease.attempt)
        unsure = False  # whether a try before did it, and only its answer was lost
        while True:
            try:
                state = self._tell(outcome, published, recorded(files), event_id)
                outage.over()
                if state is None and not unsure:
                    raise LeaseLost
                log.info("attempt.ended", attempt=self.lease.attempt, outcome=type(outcome).__name__, state=state)
                clear_checkpoints(self.settings.checkpoint_root, self.lease.run_id, state)
                return
            except LeaseLost:
                log.warning("lease.lost", attempt=self.lease.attempt, outcome="stale")
                if published is not None:
                    discard(self._store, self.lease)
                return
            except DATABASE_AWAY as error:
                outage.goes_on(error)
                unsure = True
                if self.stop.is_set() and not isinstance(outcome, Success):
                    return  # told to stop: the lease expires by itself
                time.sleep(1)

    def _tell(
        self,
        outcome: Success | Failure | Stopped,
        published: Published | None,
        files: StoredFiles | None,
        event_id: UUID,
    ) -> RunState | None:
        with transaction(self.engine) as session:
            match outcome:
                case Success(metrics):
                    assert published is not None
                    return finish_run(
                        session,
                        self.lease,
                        event_id=event_id,
                        state="completed",
                        metrics=metrics,
                        artifact_uri=published.uri,
                        adapter_sha256=published.adapter_sha256,
                        manifest=None if self._manifest is None else self._manifest.model_dump(mode="json"),
                        files=files,
                    )
                case Failure(code, message):
                    error = {"code": code, "message": message}
                    return finish_run(session, self.lease, event_id=event_id, state="failed", files=files, error=error)
                case Stopped(reason, message):
                    if reason is None:
                        raise LeaseLost
                    return end_lease(
                        session,
                        self.lease.run_id,
                        self.lease.attempt,
                        reason=reason,
                        rule=self.settings.strikes,
                        message=message,
                        checkpoint_step=self._checkpoint_step,
                        files=files,
                    )


def _judge(
    status: int | None, result: Finished | Refused | None, verdict: Verdict | None
) -> Success | Failure | Stopped:
    """`status` None: we ended it. Its last word counts all the same, unless the run is lost or cancelled."""
    had_its_say = status is None and verdict in (None, Verdict.OUTAGE)
    if isinstance(result, Finished) and (status == 0 or had_its_say):
        return Success(result.metrics)
    if verdict is Verdict.LOST:
        return Stopped(None)
    if isinstance(result, Refused) and (status == REFUSED_EXIT or had_its_say):
        return Failure(result.code, result.message)
    if verdict is Verdict.CANCELLED:
        return Stopped(EndReason.CANCELLED)
    if status is None:
        return Stopped(EndReason.RELEASED)
    return Stopped(EndReason.CHILD_DIED, f"The child process ended with exit status {status}")
