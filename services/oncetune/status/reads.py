"""What the journal tells of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, func, select

from oncetune.ledger.reads import pending_events
from oncetune.ledger.tables import Run
from oncetune.status.journal import Outcome
from oncetune.status.tables import Delivery, JournalEntry


@dataclass(frozen=True)
class Trail:
    """The audit trail of a run, in the order of its positions."""

    entries: Sequence[JournalEntry]
    gapless: bool  # positions 1, 2, 3 … once each, and whatever the ledger has beyond them is on its way
    duplicates: int  # repeated deliveries that were dropped
    pending: int  # events of the ledger that the journal does not hold yet, or holds with other content
    conflicts: int  # events that came with two contents: somebody forged or broke one
    dead_letters: int  # deliveries that came back as dead letters


def read_trail(session: Session, run: Run) -> Trail:
    """The trail of `run`, which was read before: events since then may be in the trail already."""
    unconfirmed = pending_events(session, run.id)  # before the journal: what arrives in between counts as arrived
    newest = (col(JournalEntry.position), col(JournalEntry.received_at))
    entries = session.exec(select(JournalEntry).where(JournalEntry.run_id == run.id).order_by(*newest)).all()
    conflicting = _conflicting(session, run)
    pending = len(unconfirmed - ({entry.event_id for entry in entries} - conflicting))
    whole = [entry.position for entry in entries] == list(range(1, len(entries) + 1))
    gapless = whole and len(entries) + pending >= run.position
    counts = _counts(session, run)
    duplicates, dead_letters = (counts.get(outcome, 0) for outcome in (Outcome.DUPLICATE, Outcome.DEAD_LETTER))
    return Trail(entries, gapless, duplicates, pending, len(conflicting), dead_letters)


def _counts(session: Session, run: Run) -> dict[str, int]:
    """Deliveries of the run by their outcome, as far as they are counted."""
    counted = select(Delivery.outcome, func.sum(Delivery.count)).where(Delivery.run_id == run.id)
    return {outcome: int(count) for outcome, count in session.exec(counted.group_by(col(Delivery.outcome)))}


def _conflicting(session: Session, run: Run) -> set[UUID]:
    of_run = "SELECT event_id FROM audit.conflict JOIN audit.journal USING (event_id) WHERE run_id = :run_id"
    return set(session.execute(text(of_run), {"run_id": run.id}).scalars())
