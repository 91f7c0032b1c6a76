"""What the ledger forgets: expired keys and tokens, events that the journal has held for long, old results."""

from datetime import timedelta
from typing import Any

from sqlalchemy import CursorResult, TextClause
from sqlmodel import Session

from oncetune.postgres import statement


def sweep_request_keys(session: Session, *, limit: int) -> int:
    """Delete at most `limit` expired keys; how many. Any number of callers may do this at once."""
    return _changed(session, statement("ledger", "sweep_request_keys"), {"limit": limit})


def sweep_outbox(session: Session, *, limit: int, kept: timedelta) -> int:
    """Delete at most `limit` events that were confirmed longer than `kept` ago; how many."""
    due = {"limit": limit, "kept_seconds": kept.total_seconds()}
    return _changed(session, statement("ledger", "sweep_outbox"), due)


def sweep_download_tokens(session: Session, *, limit: int) -> int:
    """Delete at most `limit` expired tokens; how many. Any number of callers may do this at once."""
    return _changed(session, statement("ledger", "sweep_download_tokens"), {"limit": limit})


def retire_results(session: Session, *, limit: int, kept: timedelta) -> int:
    """Mark at most `limit` runs that ended longer than `kept` ago as without results; how many.

    Any number of callers may do this at once. Their files are the caller's to take away, afterwards.
    """
    due = {"limit": limit, "kept_seconds": kept.total_seconds()}
    return _changed(session, statement("ledger", "retire_results"), due)


def _changed(session: Session, change: TextClause, parameters: dict[str, Any]) -> int:
    result = session.execute(change, parameters)
    assert isinstance(result, CursorResult)
    return result.rowcount
