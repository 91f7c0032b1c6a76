"""The right to one try at a run: claim it, renew it, finish it, end it. Steps 2 and 3 of the room's protocol."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from pydantic import JsonValue
from sqlalchemy import text
from sqlmodel import Session

from oncetune.contracts.progress import Progress
from oncetune.contracts.recipe import KNOWN_RECIPE_VERSIONS
from oncetune.contracts.run import TERMINAL, RunState
from oncetune.ledger.ids import new_event_id
from oncetune.ledger.tables import Run
from oncetune.postgres import statement

TRAINER = "/oncetune/trainer"
TRIGGER = "/oncetune/trigger"
StoredFiles = dict[str, dict[str, int | str]]
_TOLD_IN_EVENTS = {"step", "steps", "loss", "reward_margin", "reward_accuracy", "resumed_from_step"}


@dataclass(frozen=True)
class Lease:
    """The right to one attempt. `recipe` is read strictly by the holder: a bad one fails its run, not the queue."""

    run_id: UUID
    attempt: int
    strikes: int  # of the attempts before, since the run last got further
    recipe: dict[str, Any]
    expires_at: datetime  # by the database's clock
    traceparent: str | None  # the trace of the run's request


class LeaseLost(Exception):
    """Another attempt owns this run now, or it has ended (read, not guessed): kill the child, publish nothing."""


class EndReason(StrEnum):
    """Why a lease ended without a result. `released`, `cancelled` and `not_stored` are no strikes."""

    RELEASED = "released"  # the trainer was told to stop
    EXPIRED = "expired"  # nobody renewed it
    CHILD_DIED = "child_died"  # out of memory, a crash
    NO_PROGRESS = "no_progress"  # the child made no step for too long
    NOT_STORED = "not_stored"  # a disk, of the staging or of the artifacts, is full or away
    CANCELLED = "cancelled"  # the child was stopped because a cancel was asked


@dataclass(frozen=True)
class StrikeRule:
    """How many strikes end a run, and how long the longest pause before a new attempt is."""

    max_strikes: int = 3
    max_backoff: timedelta = timedelta(minutes=5)


def claim_run(
    session: Session, *, worker: str, claim_id: UUID, duration: timedelta, run_id: UUID | None = None
) -> Lease | None:
    """Lease `run_id`, or the run that has waited longest, to `worker`; None when there is nothing to claim.

    Any number of workers may call this at once: rows already being claimed are skipped. `claim_id` is new for each
    claim and kept while its answer is unknown: the next call with it returns the run that it got.
    """
    row = session.execute(
        statement("ledger", "claim_run"),
        {
            "worker": worker,
            "claim_id": claim_id,
            "lease_seconds": duration.total_seconds(),
            "run_id": run_id,
            "recipe_versions": list(KNOWN_RECIPE_VERSIONS),
            "event_id": new_event_id(),
            "source": TRAINER,
        },
    ).one_or_none()
    if row is None:
        return None
    return Lease(row.id, row.attempt, row.strikes, row.recipe, row.lease_expires_at, row.traceparent)


def renew_lease(session: Session, lease: Lease, *, progress: Progress | None, as_event: bool) -> bool:
    """Keep the lease for another of its durations; True when a cancel was asked. Raises LeaseLost.

    With `as_event` the progress also becomes a `run.progress` event.
    """
    row = session.execute(
        statement("ledger", "renew_lease"),
        {
            "run_id": lease.run_id,
            "attempt": lease.attempt,
            "progress": progress and progress.model_dump_json(exclude={"kind"}),
            "event_id": new_event_id() if as_event and progress else None,
            "event_payload": progress and progress.model_dump_json(include=_TOLD_IN_EVENTS),
            "source": TRAINER,
        },
    ).one_or_none()
    if row is None:
        raise LeaseLost
    return bool(row.cancel_requested)


def finish_run(
    session: Session,
    lease: Lease,
    *,
    event_id: UUID,
    state: Literal["completed", "failed"],
    metrics: dict[str, JsonValue] | None = None,
    artifact_uri: str | None = None,
    adapter_sha256: str | None = None,
    manifest: dict[str, JsonValue] | None = None,
    files: StoredFiles | None = None,
    error: dict[str, str] | None = None,
) -> RunState:
    """End the run with this attempt's result; returns the state it has now. Raises LeaseLost.

    `files` (name → bytes, sha256) can be downloaded from the attempt's place in the artifacts.
    `event_id` is made once by the caller and used for every try: when the answer to an earlier try was lost, the
    run is found ended by that very id, and that is success.
    """
    row = session.execute(
        statement("ledger", "finish_run"),
        {
            "run_id": lease.run_id,
            "attempt": lease.attempt,
            "event_id": event_id,
            "state": state,
            "metrics": None if metrics is None else json.dumps(metrics, allow_nan=False),
            "artifact_uri": artifact_uri,
            "adapter_sha256": adapter_sha256,
            "manifest": None if manifest is None else json.dumps(manifest, allow_nan=False),
            "files": None if files is None else json.dumps(files),
            "error": None if error is None else json.dumps(error),
            "source": TRAINER,
        },
    ).one_or_none()
    if row is not None:
        return RunState(row.state)
    run = session.get(Run, lease.run_id, populate_existing=True)
    if run is not None and run.ended_by == event_id:
        return RunState(run.state)
    raise LeaseLost


def end_lease(
    session: Session,
    run_id: UUID,
    attempt: int,
    *,
    reason: EndReason,
    rule: StrikeRule,
    message: str = "",
    checkpoint_step: int | None = None,
    files: StoredFiles | None = None,
    source: str = TRAINER,
) -> RunState | None:
    """End a lease without a result; the state the run has now, None when that attempt holds no lease to end.

    `checkpoint_step` is that of the newest checkpoint, None when no newer one is known than the heartbeats told of.
    `files` can be downloaded, if this is the run's end.
    A repeat after a lost answer finds nothing to end, which is right: the first try did it.
    """
    row = session.execute(
        statement("ledger", "end_lease"),
        {
            "run_id": run_id,
            "attempt": attempt,
            "reason": reason.value,
            "message": message,
            "checkpoint_step": checkpoint_step,
            "files": None if files is None else json.dumps(files),
            "max_strikes": rule.max_strikes,
            "max_backoff_seconds": rule.max_backoff.total_seconds(),
            "event_id": new_event_id(),
            "source": source,
        },
    ).one_or_none()
    return None if row is None else RunState(row.state)


def database_time(session: Session) -> datetime:
    """The clock that leases are judged by."""
    return session.execute(text("SELECT clock_timestamp()")).scalar_one()  # type: ignore[no-any-return]


def expired_leases(session: Session, *, watched: timedelta, limit: int) -> list[tuple[UUID, int]]:
    """Run and attempt of leases that look expired, the oldest `limit`; `end_lease` judges each of them again.

    `watched` is how long the caller has seen the database without a gap: longer leases are left alone, their
    trainers may have been unable to renew them.
    """
    rows = session.execute(
        text(
            "SELECT id, attempt FROM ledger.run WHERE state = 'running' AND lease_expires_at < clock_timestamp()"
            " AND lease_seconds <= :watched_seconds ORDER BY lease_expires_at LIMIT :limit"
        ),
        {"watched_seconds": watched.total_seconds(), "limit": limit},
    )
    return [(row.id, row.attempt) for row in rows]


def holds_lease(session: Session, lease: Lease) -> bool:
    """Whether this attempt still owns its run; read, so it may be wrong a moment later."""
    run = session.get(Run, lease.run_id, populate_existing=True)
    return run is not None and run.attempt == lease.attempt and RunState(run.state) not in TERMINAL | {RunState.QUEUED}
