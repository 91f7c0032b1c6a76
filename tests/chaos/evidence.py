"""What lies in the database and in the artifacts folder, read as a stranger would: by SQL and by looking."""

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from oncetune.artifacts.folder import files_below
from oncetune.contracts.envelope import content_hash, write_envelope
from tests.artifacts.given import folder_sha256
from tests.chaos.dataset_server import read_served

Row = dict[str, Any]

# A row of the journal as text: byte for byte what the database keeps.
_JOURNAL = "SELECT *, journal::text AS whole FROM audit.journal ORDER BY run_id, position"
_DATASETS = """
SELECT sha256, row_count, byte_count, string_agg(content, ''::bytea ORDER BY number) AS pieces
  FROM ledger.dataset LEFT JOIN ledger.dataset_chunk USING (sha256)
 GROUP BY sha256, row_count, byte_count
"""


@dataclass(frozen=True)
class Places:
    """Where it lies that is in no table; None where nobody can look."""

    artifacts: Path
    passing: Sequence[Path] = ()  # staging and temporary files: folders that are empty when all is at rest
    served: Path | None = None  # see tests/chaos/dataset_server.py


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
    files: dict[str, Row]  # "<run>/<attempt>/<name>" of every file beside and in them: bytes and sha256
    leavings: list[Path]  # "<run>/<attempt>.arriving" and "<run>/checkpoints": what attempts work on
    datasets: list[Row]  # with what was `found` to be stored of each
    served: Mapping[str, Sequence[str]]  # the hashes of what the dataset server gave to each kb_id
    staged: list[Path]


def gather(database_url: str, places: Places) -> Evidence:
    """One look at everything, of one moment of the database."""
    artifacts = places.artifacts
    with _one_moment(database_url) as select:
        return Evidence(
            runs=select("SELECT * FROM ledger.run ORDER BY created_at"),
            outbox=select("SELECT * FROM ledger.outbox ORDER BY run_id, position"),
            journal=select(_JOURNAL),
            conflicts=select("SELECT * FROM audit.conflict"),
            misdeliveries=select("SELECT * FROM audit.delivery WHERE outcome IN ('conflict', 'invalid')"),
            dead_letters=select("SELECT * FROM audit.dead_letter"),
            adapters=_adapters(artifacts),
            files=_files(artifacts),
            leavings=[
                path.relative_to(artifacts)
                for what in ("*.arriving", "checkpoints")
                for path in artifacts.glob(f"*/{what}")
            ],
            datasets=[row | {"found": _found(row["pieces"])} for row in select(_DATASETS)],
            served=read_served(places.served) if places.served else {},
            staged=[path for folder in places.passing for path in folder.rglob("*")],
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


def _found(pieces: bytes | None) -> Row:
    """What a dataset is named and measured by, of its stored bytes."""
    try:
        content = zlib.decompress(pieces or b"")
    except zlib.error:
        content = b""
    sha256 = hashlib.sha256(content).hexdigest()
    return {"sha256": sha256, "row_count": content.count(b"\n"), "byte_count": len(content)}


def _adapters(artifacts: Path) -> dict[str, str]:
    found = {}
    for path in artifacts.glob("*/*/adapter"):
        with suppress(FileNotFoundError):  # it was swept at this moment
            found[str(path.parent.relative_to(artifacts))] = folder_sha256(path)
    return found


def _files(artifacts: Path) -> dict[str, Row]:
    found = {}
    for place in artifacts.glob("*/[0-9]*"):
        if not place.name.isdecimal():
            continue  # on its way
        for name, path in files_below(place).items():
            with suppress(FileNotFoundError):  # it was swept at this moment
                content = path.read_bytes()
                sha256 = hashlib.sha256(content).hexdigest()
                found[f"{place.relative_to(artifacts)}/{name}"] = {"bytes": len(content), "sha256": sha256}
    return found


def published_hash(event: Row) -> str:
    """The content hash of the CloudEvent that this outbox row stands for."""
    names = ("event_id", "run_id", "position", "type", "source", "occurred_at", "payload", "traceparent")
    return content_hash(write_envelope(**{name: event[name] for name in names}))


def journal_rows(evidence: Evidence) -> dict[Any, str]:
    """Every row of the journal by its event, whole: for a later look to compare with."""
    return {row["event_id"]: row["whole"] for row in evidence.journal}
