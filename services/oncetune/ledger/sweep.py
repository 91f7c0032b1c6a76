"""What the ledger forgets: request keys that expired, and events that the journal has held for long."""

from datetime import timedelta
from typing import Any

from sqlalchemy import CursorResult, TextClause
from sqlmodel import Session

from oncetune.postgres import statement


def sweep_request_keys(session: Session, *, limit: int) -> int:
    """Delete at most `limit` expired keys; how many. Any number of callers may do this at once."""
    return _deleted(session, statement("ledger", "sweep_request_keys"), {"limit": limit})


def sweep_outbox(session: Session, *, limit: int, kept: timedelta) -> int:
    """Delete at most `limit` events that were confirmed longer than `kept` ago; how many."""
    due = {"limit": limit, "kept_seconds": kept.total_seconds()}
    return _deleted(session, statement("ledger", "sweep_outbox"), due)


def _deleted(session: Session, delete: TextClause, parameters: dict[str, Any]) -> int:
    result = session.execute(delete, parameters)
    assert isinstance(result, CursorResult)
    return result.rowcount
