"""One attempt at a run, from its lease to its end: stage, train, publish, finish."""

import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Engine

from oncetune.artifacts.folder import BrokenAdapter, Published, check_adapter, discard, keep_log, publish_adapter
from oncetune.contracts.progress import REFUSED_EXIT, STOPPED_EXIT, Finished, Refused
from oncetune.contracts.recipe import TrainingRecipe
from oncetune.contracts.run import RunState
from oncetune.datasets.packing import BrokenDataset, unpack_rows
from oncetune.ledger.ids import new_event_id
from oncetune.ledger.leases import EndReason, Lease, LeaseLost, end_lease, finish_run, read_rows
from oncetune.logs import Outage, log
from oncetune.postgres import DATABASE_AWAY, transaction
from oncetune.trainer.checkpoints import clear_checkpoints, plan_checkpoints
from oncetune.trainer.child import Child, NotStarted
from oncetune.trainer.heartbeat import Heartbeat, Verdict
from oncetune.trainer.outcome import Failure, Stopped, Success
from oncetune.trainer.settings import TrainerSettings
from oncetune.trainer.staging_disk import StagingDisk
from oncetune.trainer.training_log import LOG_NAME

LOOK_SECONDS = 0.1
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 30.0  # between two tries to store an adapter


@dataclass
class Attempt:
    """Runs in the worker's thread; `stop` is set by SIGTERM. `beats` is an engine that keeps no connection open."""

    engine: Engine
    beats: Engine
    settings: TrainerSettings
    lease: Lease
    stop: threading.Event
    folder: Path = field(init=False)
    _checkpoint_step: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.folder = self.settings.staging / f"{self.lease.run_id}-{self.lease.attempt}"

    def run(self) -> None:
        """Try once. Nothing is raised for what can happen to a run; its end is in the ledger, or will be again."""
        patience = self.settings.lease + self.settings.outage_grace
        heartbeat = Heartbeat(self.beats, self.lease, every=self.settings.renew_every, patience=patience)
        published: Published | None = None
        try:
            with heartbeat:
                outcome = self._train(heartbeat)
                self._checkpoint_step = heartbeat.checkpoint_step
                if isinstance(outcome, Success):
                    published, outcome = self._publish(outcome, heartbeat)
            self._close(outcome, published)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _stage(self) -> Failure | None:
        """Write recipe and rows where the child finds them."""
        try:
            recipe = TrainingRecipe.model_validate(self.lease.recipe)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"])
            return Failure("bad_recipe", f"The recipe cannot be read: {where}")
        with transaction(self.engine) as session:
            chunks = read_rows(session, recipe.dataset_sha256)
        self.engine.dispose()  # no connection is held while the child trains
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        try:
            (self.folder / "dataset.jsonl").write_bytes(unpack_rows(chunks, sha256=recipe.dataset_sha256))
        except BrokenDataset as error:
            return Failure("broken_dataset", str(error))
        (self.folder / "recipe.json").write_text(recipe.model_dump_json())
        plan_checkpoints(self.settings, self.lease, self.folder)
        return None

    def _train(self, heartbeat: Heartbeat) -> Success | Failure | Stopped:
        try:
            return self._stage() or self._listen(heartbeat)
        except DATABASE_AWAY as error:
            return Stopped(EndReason.RELEASED, type(error).__name__)
        except NotStarted as error:
            return Stopped(EndReason.CHILD_DIED, f"The training could not be started: {error}")
        except OSError as error:
            return Stopped(EndReason.NOT_STORED, f"The attempt could not be staged: {_reason(error)}")

    def _listen(self, heartbeat: Heartbeat) -> Success | Failure | Stopped:
        """The child from its start to its end, or to ours."""
        disk = StagingDisk(self.folder)
        with Child(
            self.settings.training_command,
            self.folder,
            model_cache=self.settings.model_cache,
            grace=self.settings.child_grace,
            max_log_bytes=self.settings.max_log_bytes,
            on_progress=heartbeat.tell,
        ) as child:
            log.info("training.started", attempt=self.lease.attempt, pid=child.pid)
            while (status := child.wait(LOOK_SECONDS)) is None:
                if heartbeat.judged.is_set() or self.stop.is_set() or child.lingers:
                    break
                if child.result is None and heartbeat.still_for > self.settings.progress_deadline.total_seconds():
                    return Stopped(
                        EndReason.NO_PROGRESS, f"The training made no step in {self.settings.progress_deadline}"
                    )
        return self._judge_end(status, child.result, heartbeat, disk)

    def _judge_end(
        self, status: int | None, result: Finished | Refused | None, heartbeat: Heartbeat, disk: StagingDisk
    ) -> Success | Failure | Stopped:
        """A death is none where somebody else stopped the child, or took its disk."""
        grace = self.settings.child_grace.total_seconds()
        if status == STOPPED_EXIT and self._must_stop_within(grace, heartbeat):
            status = None  # whoever stops all processes at once may have told the child before us
        outcome = _judge(status, result, heartbeat.verdict)
        if isinstance(outcome, Stopped) and outcome.reason is EndReason.CHILD_DIED and disk.refused():
            return Stopped(EndReason.NOT_STORED, outcome.message)
        return outcome

    def _publish(self, success: Success, heartbeat: Heartbeat) -> tuple[Published | None, Success | Failure | Stopped]:
        """Store the adapter; while the disk refuses and the run is ours, again and again for `disk_grace`."""
        adapter = self.folder / "adapter"
        try:
            check_adapter(adapter)
        except BrokenAdapter as broken:
            return None, Stopped(EndReason.CHILD_DIED, f"The training left no adapter that can be stored: {broken}")
        end, pause = time.monotonic() + self.settings.disk_grace.total_seconds(), _FIRST_PAUSE_SECONDS
        while True:
            try:
                return publish_adapter(self.settings.artifacts, self.lease.run_id, self.lease.attempt, adapter), success
            except OSError as error:
                log.warning("adapter.not_stored", attempt=self.lease.attempt, reason=_reason(error))
                left = end - time.monotonic()
                if left <= 0:
                    return None, Stopped(EndReason.NOT_STORED, f"The adapter could not be stored: {_reason(error)}")
            if self._must_stop_within(min(pause, left), heartbeat):
                return None, _judge(None, None, heartbeat.verdict)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _must_stop_within(self, seconds: float, heartbeat: Heartbeat) -> bool:
        """At once when it must; False after `seconds`."""
        end = time.monotonic() + seconds
        while not (self.stop.is_set() or heartbeat.judged.is_set()):
            if (left := end - time.monotonic()) <= 0:
                return False
            heartbeat.judged.wait(min(LOOK_SECONDS, left))
        return True

    def _close(self, outcome: Success | Failure | Stopped, published: Published | None) -> None:
        """Tell the ledger, and again while the database is away: a finished adapter is never thrown away unasked."""
        event_id = new_event_id()
        outage = Outage(away="attempt.not_ended", back="attempt.ends", attempt=self.lease.attempt)
        unsure = False  # whether a try before did it, and only its answer was lost
        self._keep_log()
        while True:
            try:
                state = self._tell(outcome, published, event_id)
                outage.over()
                if state is None and not unsure:
                    raise LeaseLost
                log.info("attempt.ended", attempt=self.lease.attempt, outcome=type(outcome).__name__, state=state)
                clear_checkpoints(self.settings.artifacts, self.lease.run_id, state)
                return
            except LeaseLost:
                log.warning("lease.lost", attempt=self.lease.attempt, outcome="stale")
                if published is not None:
                    discard(self.settings.artifacts, self.lease.run_id, self.lease.attempt)
                return
            except DATABASE_AWAY as error:
                outage.goes_on(error)
                unsure = True
                if self.stop.is_set() and not isinstance(outcome, Success):
                    return  # told to stop: the lease expires by itself
                time.sleep(1)

    def _tell(
        self, outcome: Success | Failure | Stopped, published: Published | None, event_id: UUID
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
                        adapter_sha256=published.sha256,
                    )
                case Failure(code, message):
                    error = {"code": code, "message": message}
                    return finish_run(session, self.lease, event_id=event_id, state="failed", error=error)
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
                    )

    def _keep_log(self) -> None:
        training_log = self.folder / LOG_NAME
        try:
            if training_log.exists():
                keep_log(self.settings.artifacts, self.lease.run_id, self.lease.attempt, training_log)
        except OSError as error:
            log.warning("log.not_kept", reason=_reason(error))


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
    return Stopped(EndReason.CHILD_DIED, f"The training process ended with exit status {status}")


def _reason(error: OSError) -> str:
    """What the system said; shutil.Error speaks for several files: of the first one."""
    if isinstance(error, shutil.Error):
        return str(error.args[0][0][2])[:300]
    return error.strerror or str(error)[:300]
