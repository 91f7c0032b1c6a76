"""What the relay takes and confirms: step 5 of the room's protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import JsonValue
from sqlalchemy import text
from sqlmodel import Session

from oncetune.contracts.envelope import content_hash, write_envelope
from oncetune.postgres import statement


@dataclass(frozen=True)
class Pace:
    """How the relay repeats an event until the journal has it."""

    deadline: timedelta = timedelta(seconds=5)  # of one publish
    backoff: timedelta = timedelta(seconds=1)  # doubled with each publish, with jitter
    max_backoff: timedelta = timedelta(seconds=20)
    batch: int = 100
    window: int = 500  # events on their way at once
    stuck_after: int = 10  # publishes; then the slow lane, and /health tells
    slow: timedelta = timedelta(seconds=35)  # with jitter and deadline, less than a minute


@dataclass(frozen=True)
class TakenEvent:
    """An event to publish now; its next try is already booked. `document` is its CloudEvent."""

    event_id: UUID
    run_id: UUID
    type: str
    publishes: int  # this one included
    traceparent: str | None
    document: dict[str, JsonValue]


def _document(row: Any) -> dict[str, JsonValue]:
    return write_envelope(
        event_id=row.event_id,
        run_id=row.run_id,
        position=row.position,
        type=row.type,
        source=row.source,
        occurred_at=row.occurred_at,
        payload=row.payload,
        traceparent=row.traceparent,
    )


def take_events(session: Session, pace: Pace) -> list[TakenEvent]:
    """The events that are due, each with its next try booked. Any number of relays may take at once."""
    rows = session.execute(
        statement("ledger", "take_events"),
        {
            "batch": pace.batch,
            "window": pace.window,
            "stuck_after": pace.stuck_after,
            "deadline_seconds": pace.deadline.total_seconds(),
            "backoff_seconds": pace.backoff.total_seconds(),
            "max_backoff_seconds": pace.max_backoff.total_seconds(),
            "slow_seconds": pace.slow.total_seconds(),
        },
    )
    return [
        TakenEvent(row.event_id, row.run_id, row.type, row.publishes, row.traceparent, _document(row)) for row in rows
    ]


@dataclass(frozen=True)
class Confirmed:
    """What one look at the journal found."""

    event_ids: Sequence[UUID]
    conflicting: Mapping[
        UUID, UUID
    ]  # to its run: the journal has other content under the id, somebody forged it, alarm


def confirm_events(session: Session, *, limit: int = 500) -> Confirmed:
    """End the publishing of the events that the journal holds with the same content.

    By id alone a forged event under the same id would confirm the real one and so lose it.
    """
    rows = session.execute(
        text(
            "SELECT outbox.*, journal.hash FROM ledger.outbox JOIN audit.journal USING (event_id)"
            " WHERE outbox.confirmed_at IS NULL AND outbox.publishes > 0"
            " ORDER BY outbox.publishes LIMIT :limit"  # forged ones, never confirmed, sink behind the honest
        ),
        {"limit": limit},
    ).all()
    same = [row.event_id for row in rows if content_hash(_document(row)) == row.hash]
    if same:
        session.execute(statement("ledger", "confirm_events"), {"event_ids": same})
    return Confirmed(same, {row.event_id: row.run_id for row in rows if row.event_id not in set(same)})


@dataclass(frozen=True)
class Backlog:
    """How far the journal is behind."""

    pending: int
    stuck: int
    oldest: datetime | None


def backlog(session: Session, pace: Pace) -> Backlog:
    """Events that the journal does not hold yet, and those among them that needed many publishes."""
    row = session.execute(
        text(
            "SELECT count(*) AS pending, count(*) FILTER (WHERE publishes >= :stuck_after) AS stuck,"
            " min(occurred_at) AS oldest FROM ledger.outbox WHERE confirmed_at IS NULL"
        ),
        {"stuck_after": pace.stuck_after},
    ).one()
    return Backlog(row.pending, row.stuck, row.oldest)
