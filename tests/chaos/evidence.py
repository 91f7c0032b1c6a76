"""What lies in the database and in the artifacts folder, read as a stranger would: by SQL and by looking."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from oncetune.artifacts.folder import folder_sha256
from oncetune.contracts.envelope import content_hash, write_envelope

Row = dict[str, Any]

# A row of the journal as text: byte for byte what the database keeps.
_JOURNAL = "SELECT *, journal::text AS whole FROM audit.journal ORDER BY run_id, position"


@dataclass(frozen=True)
class Evidence:
    """Rows as dictionaries, `outbox` and `journal` ordered by run and position."""

    runs: list[Row]
    outbox: list[Row]
    journal: list[Row]
    conflicts: list[Row]
    misdeliveries: list[Row]  # what was delivered and is no event, or not the one that it says it is
    dead_letters: list[Row]
    adapters: dict[str, str]  # "<run>/<attempt>" of every adapter in its place: the hash of its folder
    leavings: list[Path]  # "<run>/<attempt>.arriving" and "<run>/checkpoints": what attempts work on


def gather(database_url: str, artifacts: Path) -> Evidence:
    """One look at everything, of one moment of the database."""
    with _one_moment(database_url) as select:
        return Evidence(
            runs=select("SELECT * FROM ledger.run ORDER BY created_at"),
            outbox=select("SELECT * FROM ledger.outbox ORDER BY run_id, position"),
            journal=select(_JOURNAL),
            conflicts=select("SELECT * FROM audit.conflict"),
            misdeliveries=select("SELECT * FROM audit.delivery WHERE outcome IN ('conflict', 'invalid')"),
            dead_letters=select("SELECT * FROM audit.dead_letter"),
            adapters=_adapters(artifacts),
            leavings=[
                path.relative_to(artifacts)
                for what in ("*.arriving", "checkpoints")
                for path in artifacts.glob(f"*/{what}")
            ],
        )


def read_journal(database_url: str) -> dict[Any, str]:
    """`journal_rows` of a look at nothing else. Raises psycopg.OperationalError while the database is away."""
    with _one_moment(database_url) as select:
        return {row["event_id"]: row["whole"] for row in select(_JOURNAL)}


@contextmanager
def _one_moment(database_url: str) -> Iterator[Callable[[LiteralString], list[Row]]]:
    """Selects that all see the same moment."""
    with psycopg.connect(database_url, row_factory=dict_row, connect_timeout=5) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SET LOCAL timezone = 'UTC'")
        yield lambda query: connection.execute(query).fetchall()


def _adapters(artifacts: Path) -> dict[str, str]:
    found = {}
    for path in artifacts.glob("*/*/adapter"):
        with suppress(FileNotFoundError):  # it was swept at this moment
            found[str(path.parent.relative_to(artifacts))] = folder_sha256(path)
    return found


def published_hash(event: Row) -> str:
    """The content hash of the CloudEvent that this outbox row stands for."""
    names = ("event_id", "run_id", "position", "type", "source", "occurred_at", "payload", "traceparent")
    return content_hash(write_envelope(**{name: event[name] for name in names}))


def journal_rows(evidence: Evidence) -> dict[Any, str]:
    """Every row of the journal by its event, whole: for a later look to compare with."""
    return {row["event_id"]: row["whole"] for row in evidence.journal}
