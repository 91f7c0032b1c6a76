"""The right to download a run's dataset once, and the dataset in its pieces. Of a token only its hash is known here."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from uuid import UUID

from sqlalchemy import Engine, func
from sqlmodel import Session, col, select

from oncetune.contracts.run import RunState
from oncetune.ledger.tables import Dataset, DatasetChunk, DownloadToken, Run
from oncetune.postgres import statement, transaction


@dataclass(frozen=True)
class Download:
    """What a usable token stands for; `dataset` is None while, or because, the run's was never stored."""

    run_id: UUID
    state: RunState
    dataset: Dataset | None


def issue_token(
    session: Session, run_id: UUID, *, sha256: str, issued_to: str, lifetime: timedelta, limit: int
) -> datetime | None:
    """Keep a token of this run by its hash; when it expires, or None when the run has `limit` unused ones.

    Any number of callers may do this at once: those of one run wait for each other.
    """
    session.execute(statement("ledger", "take_turn"), {"taker": f"tokens of {run_id}"})
    wanted = {
        "sha256": sha256,
        "run_id": run_id,
        "issued_to": issued_to,
        "lifetime_seconds": lifetime.total_seconds(),
        "limit": limit,
    }
    expires_at: datetime | None = session.execute(
        statement("ledger", "issue_download_token"), wanted
    ).scalar_one_or_none()
    return expires_at


def find_download(session: Session, sha256: str) -> Download | None:
    """What the token of this hash stands for; None when it is unknown, expired or used. It stays as it is."""
    query = (
        select(Run.id, Run.state, Dataset)
        .join(DownloadToken, col(DownloadToken.run_id) == col(Run.id))
        .join(Dataset, col(Dataset.sha256) == col(Run.dataset_sha256), isouter=True)
        .where(DownloadToken.sha256 == sha256, col(DownloadToken.used_at).is_(None))
        .where(col(DownloadToken.expires_at) > func.clock_timestamp())
    )
    found = session.exec(query).one_or_none()
    return None if found is None else Download(found[0], RunState(found[1]), found[2])


def use_token(session: Session, sha256: str) -> bool:
    """Use the token up; False when it is unknown, expired or used. Of any number of callers at once one gets True."""
    return session.execute(statement("ledger", "use_download_token"), {"sha256": sha256}).one_or_none() is not None


def stream_chunks(engine: Engine, dataset_sha256: str) -> Iterator[bytes]:
    """The compressed chunks of a dataset, one after the other; no connection is held between two of them."""
    for number in count():
        with transaction(engine) as session:
            chunk = session.get(DatasetChunk, (dataset_sha256, number))
        if chunk is None:
            return
        yield chunk.content
