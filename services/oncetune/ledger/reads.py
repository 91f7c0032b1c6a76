"""Plain selects for whoever shows runs; nothing here decides anything."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import tuple_
from sqlmodel import Session, col, select

from oncetune.contracts.run import RunState
from oncetune.ledger.tables import OutboxEvent, Run


def find_run(session: Session, run_id: UUID) -> Run | None:
    """The run; None when there is none of this id."""
    return session.get(Run, run_id)


def standing_of(session: Session, run_ids: Sequence[UUID]) -> list[tuple[UUID, RunState, int]]:
    """Id, state and newest attempt of those of these runs that there are, in any order."""
    found = session.exec(select(Run.id, Run.state, Run.attempt).where(col(Run.id).in_(run_ids)))
    return [(run_id, RunState(state), attempt) for run_id, state, attempt in found]


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
