"""What the ledger forgets: request keys that expired, and events that the journal has held for long."""

from datetime import timedelta
from typing import Any

from sqlalchemy import CursorResult, TextClause
from sqlmodel import Session

from oncetune.postgres import statement

AT_ONCE = 1000  # rows of one transaction: nobody waits long for their locks


def sweep_request_keys(session: Session) -> int:
    """Delete at most AT_ONCE expired keys; how many. Any number of callers may do this at once."""
    return _deleted(session, statement("ledger", "sweep_request_keys"), {})


def sweep_outbox(session: Session, *, kept: timedelta) -> int:
    """Delete at most AT_ONCE events that were confirmed longer than `kept` ago; how many."""
    return _deleted(session, statement("ledger", "sweep_outbox"), {"kept_seconds": kept.total_seconds()})


def _deleted(session: Session, delete: TextClause, parameters: dict[str, Any]) -> int:
    result = session.execute(delete, {"limit": AT_ONCE, **parameters})
    assert isinstance(result, CursorResult)
    return result.rowcount
