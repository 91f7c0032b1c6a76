"""The datasets of runs: kept once under their hash, given back in pieces, tied to the run whose URL they came from."""

import json
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from sqlmodel import Session, col, select

from oncetune.contracts.preferences import PackedRows
from oncetune.contracts.progress import keepable
from oncetune.contracts.quality import QualityReport
from oncetune.contracts.run import RunState
from oncetune.ledger.ids import new_event_id
from oncetune.ledger.leases import TRAINER, Lease, LeaseLost, holds_lease
from oncetune.ledger.tables import Dataset, DatasetChunk, Run
from oncetune.postgres import statement


def store_rows(session: Session, rows: PackedRows) -> None:
    """Keep the rows under their hash; of a dataset that is there already, nothing is written twice.

    Chunks go one by one and may come from a file. Any number of callers may store equal rows at once: they wait for
    the first of them.
    """
    chunks = iter(rows.chunks)
    named = {
        "sha256": rows.sha256,
        "set_sha256": rows.set_sha256,
        "row_count": rows.row_count,
        "byte_count": rows.byte_count,
        "chunk": next(chunks),
    }
    if session.execute(statement("ledger", "store_dataset"), named).scalar_one():
        for number, chunk in enumerate(chunks, 1):
            piece = {"sha256": rows.sha256, "number": number, "chunk": chunk}
            session.execute(statement("ledger", "store_chunk"), piece)


def read_chunks(session: Session, sha256: str) -> Iterator[bytes]:
    """The compressed chunks of a dataset in their order, one select each; none when it is not stored."""
    number = 0
    while True:
        wanted = select(DatasetChunk.content).where(DatasetChunk.sha256 == sha256, DatasetChunk.number == number)
        chunk = session.exec(wanted).one_or_none()
        if chunk is None:
            return
        yield chunk
        number += 1


def store_fetched_dataset(session: Session, lease: Lease, rows: PackedRows) -> str:
    """Keep what the run's URL gave and tie the run to it; the hash that every attempt of the run trains on.

    Raises LeaseLost; the transaction must then be rolled back, and nothing of the rows remains.
    """
    store_rows(session, rows)
    payload = {  # the fields of contracts.events.RunDatasetStored
        "dataset_sha256": rows.sha256,
        "dataset_set_sha256": rows.set_sha256,
        "dataset_rows": rows.row_count,
        "dataset_bytes": rows.byte_count,
        "dataset_format": rows.format,
    }
    pinned = session.execute(
        statement("ledger", "pin_dataset"),
        {
            "run_id": lease.run_id,
            "attempt": lease.attempt,
            "sha256": rows.sha256,
            "format": rows.format,
            "notes": json.dumps(rows.notes),
            "event_id": new_event_id(),
            "source": TRAINER,
            "payload": json.dumps(payload),
        },
    ).one_or_none()
    if pinned is not None:
        return rows.sha256
    run = session.get(Run, lease.run_id, populate_existing=True)
    if run is None or run.dataset_sha256 is None or not holds_lease(session, lease):
        raise LeaseLost
    return run.dataset_sha256  # by this attempt itself, and the answer was lost


def dataset_url(session: Session, run_id: UUID) -> str | None:
    """The whole URL of the run's dataset, never to be shown or logged; None for a run whose rows came inline."""
    return session.exec(select(Run.dataset_url).where(Run.id == run_id)).one()


def store_quality(session: Session, lease: Lease, report: QualityReport) -> None:
    """Keep the first report on the run's dataset. Raises LeaseLost."""
    quality = keepable(report.model_dump(mode="json"))
    quality["numbers"] = {name: number for name, number in quality["numbers"].items() if number is not None}
    kept = {"run_id": lease.run_id, "attempt": lease.attempt, "quality": json.dumps(quality)}
    stored = session.execute(statement("ledger", "store_quality"), kept).one_or_none()
    if stored is None and not holds_lease(session, lease):
        raise LeaseLost


def read_quality(session: Session, run_id: UUID) -> QualityReport | None:
    """What an attempt said of the run's dataset; None when none has yet."""
    quality = session.exec(select(Run.quality).where(Run.id == run_id)).one()
    return None if quality is None else QualityReport.model_validate(quality)


def find_dataset(session: Session, run: Run) -> Dataset | None:
    """The run's dataset; None until it is stored."""
    return None if run.dataset_sha256 is None else session.get(Dataset, run.dataset_sha256)


def runs_of_set(
    session: Session,
    set_sha256: str,
    *,
    but: UUID | None = None,
    user_id: str | None = None,
    before: datetime | None = None,
    limit: int = 20,
) -> list[UUID]:
    """The completed runs that trained on this very set of rows, in whatever order, the newest first.

    `but` is left out: the run that asks. With `user_id` only that user's runs are told, with `before` only those that
    had ended by then.
    """
    query = (
        select(Run.id)
        .join(Dataset, col(Dataset.sha256) == col(Run.dataset_sha256))
        .where(Dataset.set_sha256 == set_sha256, Run.state == RunState.COMPLETED)
        .order_by(col(Run.finished_at).desc(), col(Run.id).desc())
        .limit(limit)
    )
    if but is not None:
        query = query.where(Run.id != but)
    if user_id is not None:
        query = query.where(Run.user_id == user_id)
    if before is not None:
        query = query.where(col(Run.finished_at) < before)
    return list(session.exec(query))
