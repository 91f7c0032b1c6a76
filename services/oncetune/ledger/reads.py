"""Plain selects for whoever shows runs; nothing here decides anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text, tuple_
from sqlmodel import Session, col, select

from oncetune.contracts.run import RunState
from oncetune.ledger.tables import OutboxEvent, Run


def find_run(session: Session, run_id: UUID) -> Run | None:
    """The run; None when there is none of this id."""
    return session.get(Run, run_id)


@dataclass(frozen=True)
class Standing:
    """What decides about a run's files. `retired`: their time is over, they go."""

    run_id: UUID
    state: RunState
    attempt: int
    retired: bool


def standing_of(session: Session, run_ids: Sequence[UUID]) -> list[Standing]:
    """Of those of these runs that there are, in any order."""
    asked = (Run.id, Run.state, Run.attempt, col(Run.files_removed_at).is_not(None))
    found = session.exec(select(*asked).where(col(Run.id).in_(run_ids)))
    return [Standing(run_id, RunState(state), attempt, retired) for run_id, state, attempt, retired in found]


def list_runs(
    session: Session,
    *,
    limit: int,
    user_id: str | None = None,
    state: RunState | None = None,
    kb_id: str | None = None,
    exp_name: str | None = None,
    before: tuple[datetime, UUID] | None = None,
) -> Sequence[Run]:
    """At most `limit` runs, newest first, older than the run `before` (its created_at and id); None: no such filter."""
    query = select(Run).order_by(col(Run.created_at).desc(), col(Run.id).desc()).limit(limit)
    if before is not None:
        query = query.where(tuple_(col(Run.created_at), col(Run.id)) < before)
    filters = ((Run.user_id, user_id), (Run.state, state), (Run.kb_id, kb_id), (Run.exp_name, exp_name))
    for column, wanted in filters:
        if wanted is not None:
            query = query.where(col(column) == wanted)
    return session.exec(query).all()


def pending_events(session: Session, run_id: UUID) -> set[UUID]:
    """Ids of the run's events that the relay has not confirmed yet; the journal may hold some of them already."""
    query = select(OutboxEvent.event_id).where(OutboxEvent.run_id == run_id, col(OutboxEvent.confirmed_at).is_(None))
    return set(session.exec(query).all())


def told_of_attempts(session: Session, run_id: UUID) -> Sequence[OutboxEvent]:
    """The events that tell of the run's attempts, by position; those that were swept since are missing."""
    query = select(OutboxEvent).where(
        OutboxEvent.run_id == run_id, col(OutboxEvent.type).in_(("run.started", "run.progress", "run.requeued"))
    )
    return session.exec(query.order_by(col(OutboxEvent.position))).all()


def duplicates_of(session: Session, run_id: UUID) -> int:
    """How many deliveries of the run's events repeated an earlier one, as far as they were counted."""
    query = "SELECT COALESCE(sum(count), 0) FROM audit.delivery WHERE run_id = :run_id AND outcome = 'duplicate'"
    return int(session.execute(text(query), {"run_id": run_id}).scalar_one())
