"""The only writer of schema `audit`, with `dead_letters`. Functions below an edge: none of them commits."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlmodel import Session, col, select

from oncetune.contracts.envelope import Envelope
from oncetune.postgres import statement
from oncetune.status.tables import JournalEntry

NO_EVENT = UUID(int=0)  # counts the deliveries that name no event


class Outcome(StrEnum):
    """What became of one delivery of one event; the words of the log and of `audit.delivery`."""

    OK = "ok"  # journalled now
    DUPLICATE = "duplicate"  # journalled before, with the same content
    CONFLICT = "conflict"  # journalled before, with other content: somebody forged or broke an event
    INVALID = "invalid"  # can never be journalled
    RETRY = "retry"  # the database did not take it; nothing is known
    DEAD_LETTER = "dead_letter"  # came back as a dead letter


@dataclass(frozen=True)
class Counted:
    """One delivery to count; `event_id` is NO_EVENT when it named none."""

    event_id: UUID
    outcome: Outcome
    run_id: UUID | None


def append_events(session: Session, events: Sequence[Envelope]) -> list[Outcome]:
    """Journal a batch; one outcome for each event, in order: OK, DUPLICATE or CONFLICT.

    Of several entries under one new id the first is journalled and the others are compared with it. Any number of
    batches may be appended at once. Raises sqlalchemy's DataError when Postgres cannot hold one of them.
    """
    first = {event.event_id: event for event in reversed(events)}
    rows = session.execute(statement("status", "append_events"), {"events": _rows(first.values())})
    written = set(rows.scalars())
    hashes = {event_id: first[event_id].content_hash for event_id in written}
    hashes |= _hashes(session, first.keys() - written)
    outcomes = [_outcome(event, hashes, written) for event in events]
    conflicts = [event for event, outcome in zip(events, outcomes, strict=True) if outcome is Outcome.CONFLICT]
    if conflicts:
        session.execute(statement("status", "keep_conflicts"), {"events": _rows(conflicts)})
    return outcomes


def _outcome(event: Envelope, hashes: dict[UUID, str], unseen: set[UUID]) -> Outcome:
    """Compare one entry with what the journal holds; takes its id out of `unseen`."""
    if hashes[event.event_id] != event.content_hash:
        return Outcome.CONFLICT
    if event.event_id in unseen:
        unseen.remove(event.event_id)
        return Outcome.OK
    return Outcome.DUPLICATE


def _hashes(session: Session, event_ids: Iterable[UUID]) -> dict[UUID, str]:
    wanted = list(event_ids)
    if not wanted:
        return {}
    found = session.exec(select(JournalEntry.event_id, JournalEntry.hash).where(col(JournalEntry.event_id).in_(wanted)))
    return dict(found.all())


def _rows(events: Iterable[Envelope]) -> str:
    return json.dumps(
        [
            {
                "event_id": str(event.event_id),
                "run_id": str(event.run_id),
                "position": event.position,
                "type": event.type,
                "hash": event.content_hash,
                "event": event.document,
            }
            for event in events
        ]
    )


def count_deliveries(session: Session, counted: Sequence[Counted]) -> None:
    """Add to the counts of deliveries; telemetry, so in a transaction of its own. Any number may count at once."""
    runs = {one.event_id: one.run_id for one in counted}
    counts = Counter((one.event_id, one.outcome) for one in counted)
    rows = [
        {"event_id": str(event_id), "outcome": outcome, "run_id": _text(runs[event_id]), "count": count}
        for (event_id, outcome), count in counts.items()
    ]
    session.execute(statement("status", "count_deliveries"), {"counts": json.dumps(rows)})


def _text(run_id: UUID | None) -> str | None:
    return None if run_id is None else str(run_id)


def keep_dead_letter(session: Session, *, topic: str, body: bytes, reason: str) -> str:
    """Keep the bytes of a dead letter of `topic`, whatever they are; returns their SHA-256 in hex."""
    sha256 = hashlib.sha256(body).hexdigest()
    given = {"sha256": sha256, "topic": topic, "body": body, "reason": reason[:500]}
    session.execute(statement("status", "keep_dead_letter"), given)
    return sha256
