"""Dead letters after they were kept: read them, and decide about each once: replay it, or discard it.

A replay takes the ordinary way into the journal, in one transaction with the decision. The first decision stands;
whoever asks again, or for the other one, is told it. Bytes and decisions never change.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine, Select, and_, func, tuple_
from sqlalchemy.exc import DataError
from sqlmodel import Session, col, select

from oncetune.contracts.envelope import Envelope
from oncetune.logs import log
from oncetune.postgres import statement, transaction
from oncetune.status.deliveries import Unreadable, read_one
from oncetune.status.journal import Outcome, append_events
from oncetune.status.measure import measure_runs
from oncetune.status.tables import DeadLetter, DeadLetterDecision


class Decision(StrEnum):
    """What was decided."""

    REPLAYED = "replayed"  # offered to the journal; the outcome says what that made of it
    DISCARDED = "discarded"  # looked at, and left where it is


class NoEvent(Exception):
    """The bytes are no event that the journal could hold: discard the letter. The message is safe to show."""


class _Decided(Exception):
    """Somebody was quicker: roll back and read what stands."""


@dataclass(frozen=True)
class Letter:
    """A dead letter without its bytes."""

    topic: str
    sha256: str
    reason: str
    size: int  # bytes
    received_at: datetime
    decision: DeadLetterDecision | None


def list_letters(
    session: Session, *, limit: int, undecided: bool, before: tuple[datetime, str, str] | None = None
) -> Sequence[Letter]:
    """At most `limit`, newest first, older than the one `before` (its received_at, sha256 and topic)."""
    place = (col(DeadLetter.received_at), col(DeadLetter.sha256), col(DeadLetter.topic))
    query = _letters().order_by(*(column.desc() for column in place)).limit(limit)
    if before is not None:
        query = query.where(tuple_(*place) < before)
    if undecided:
        query = query.where(col(DeadLetterDecision.decided_at).is_(None))
    return [Letter(*row) for row in session.execute(query)]


def find_letter(session: Session, topic: str, sha256: str) -> tuple[Letter, Envelope | Unreadable] | None:
    """The letter and what its bytes are; None when there is none."""
    of_letter = (col(DeadLetter.topic) == topic, col(DeadLetter.sha256) == sha256)
    row = session.execute(_letters().where(*of_letter)).one_or_none()
    if row is None:
        return None
    return Letter(*row), read_one(session.exec(select(DeadLetter.body).where(*of_letter)).one())


def decide(
    engine: Engine, topic: str, sha256: str, decision: Decision, *, decided_by: str
) -> DeadLetterDecision | None:
    """Decide unless somebody did before; the decision that stands, None when there is no such letter.

    Any number may decide at once: one of them does. Raises NoEvent for a replay of what is none, and sqlalchemy's
    errors while the database is away: then nothing, or everything, has happened, and the same question tells which.
    """
    with transaction(engine) as session:
        found = find_letter(session, topic, sha256)
    if found is None:
        return None
    letter, event = found
    if letter.decision is not None:
        return letter.decision
    with suppress(_Decided):
        if decision is Decision.REPLAYED:
            _replay(engine, letter, event, decided_by)
        else:
            _discard(engine, letter, event, decided_by)
    with transaction(engine) as session:
        return session.get(DeadLetterDecision, (topic, sha256))


def _replay(engine: Engine, letter: Letter, event: Envelope | Unreadable, decided_by: str) -> None:
    if isinstance(event, Unreadable):
        raise NoEvent(event.reason)
    try:
        with transaction(engine) as session:
            [outcome] = append_events(session, [event])
            _record(session, letter, Decision.REPLAYED, outcome, decided_by)
    except DataError as error:
        raise NoEvent("Postgres cannot hold it") from error
    level = log.error if outcome is Outcome.CONFLICT else log.info  # an alarm, as at a delivery
    ids = {"event_id": str(event.event_id), "run_id": str(event.run_id), "topic": letter.topic, "sha256": letter.sha256}
    level("dead_letter.replayed", outcome=outcome.value, decided_by=decided_by, **ids)
    if outcome is Outcome.OK:
        measure_runs(engine, [event])


def _discard(engine: Engine, letter: Letter, event: Envelope | Unreadable, decided_by: str) -> None:
    with transaction(engine) as session:
        _record(session, letter, Decision.DISCARDED, None, decided_by)
    run_id = str(event.run_id) if event.run_id else None
    log.info("dead_letter.discarded", run_id=run_id, topic=letter.topic, sha256=letter.sha256, decided_by=decided_by)


def _record(session: Session, letter: Letter, decision: Decision, outcome: Outcome | None, decided_by: str) -> None:
    given = {"topic": letter.topic, "sha256": letter.sha256, "decision": decision, "outcome": outcome}
    row = session.execute(statement("status", "decide_dead_letter"), given | {"decided_by": decided_by}).one_or_none()
    if row is None:
        raise _Decided


def _letters() -> Select[Any]:
    """The columns of `Letter`; without the bytes, which may be 8 MiB each."""
    size = func.octet_length(DeadLetter.body)
    decided = and_(
        col(DeadLetterDecision.topic) == col(DeadLetter.topic), col(DeadLetterDecision.sha256) == col(DeadLetter.sha256)
    )
    columns = (col(DeadLetter.topic), col(DeadLetter.sha256), col(DeadLetter.reason), size, col(DeadLetter.received_at))
    return sa.select(*columns, DeadLetterDecision).join_from(DeadLetter, DeadLetterDecision, decided, isouter=True)
