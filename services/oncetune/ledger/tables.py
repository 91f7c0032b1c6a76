"""The ledger's tables as they are read. The migrations are the truth about them; a test compares the two."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, DateTime, LargeBinary, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from oncetune.contracts.run import RunState


def _time(*, nullable: bool = True) -> Any:
    return Field(default=None, sa_column=Column(DateTime(timezone=True), nullable=nullable))


class Run(SQLModel, table=True):
    """A recorded request and where it stands."""

    __table_args__ = {"schema": "ledger"}

    id: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    user_id: str = Field(sa_type=Text)
    kb_id: str = Field(sa_type=Text)
    exp_name: str = Field(sa_type=Text)
    base_model: str = Field(sa_type=Text)  # as it was requested
    recipe: dict[str, Any] = Field(sa_type=JSONB)
    recipe_version: int
    dataset_sha256: str | None = Field(default=None, sa_type=Text)  # None until the dataset of a URL is stored
    dataset_url: str | None = Field(default=None, sa_type=Text)  # whole: never shown or logged, it may hold a secret
    dataset_format: str | None = Field(default=None, sa_type=Text)  # as it arrived
    dataset_notes: list[str] | None = Field(default=None, sa_type=JSONB)  # what was read otherwise than it stood there
    parent_run_id: UUID | None = Field(default=None, sa_column=Column(Uuid))  # the run that this one repeats
    state: RunState = Field(sa_type=Text)
    position: int  # of its newest event
    attempt: int
    strikes: int
    available_at: datetime = _time(nullable=False)
    lease_owner: str | None = Field(default=None, sa_type=Text)
    lease_expires_at: datetime | None = _time()
    renewals: int = 0
    progress: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    checkpoint_step: int | None = None  # of the newest checkpoint that an attempt can go on from
    furthest_step: int = 0  # of the furthest checkpoint that there ever was
    cancel_requested_at: datetime | None = _time()
    ended_by: UUID | None = Field(default=None, sa_column=Column(Uuid))
    metrics: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    error: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    artifact_uri: str | None = Field(default=None, sa_type=Text)
    adapter_sha256: str | None = Field(default=None, sa_type=Text)
    quality: dict[str, Any] | None = Field(default=None, sa_type=JSONB)  # a QualityReport, once it was made
    manifest: dict[str, Any] | None = Field(default=None, sa_type=JSONB)  # a Manifest, of a completed run
    files: dict[str, Any] | None = Field(default=None, sa_type=JSONB)  # of the result: name → {bytes, sha256}
    files_removed_at: datetime | None = _time()  # retention took them away
    created_at: datetime = _time(nullable=False)
    started_at: datetime | None = _time()
    finished_at: datetime | None = _time()


class OutboxEvent(SQLModel, table=True):
    """An event of a run, kept until the journal holds it."""

    __tablename__ = "outbox"
    __table_args__ = {"schema": "ledger"}

    event_id: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    run_id: UUID = Field(sa_column=Column(Uuid, nullable=False))
    position: int
    type: str = Field(sa_type=Text)
    source: str = Field(sa_type=Text)
    traceparent: str | None = Field(default=None, sa_type=Text)
    payload: dict[str, Any] = Field(sa_type=JSONB)
    occurred_at: datetime = _time(nullable=False)
    publishes: int = 0
    publish_after: datetime = _time(nullable=False)
    confirmed_at: datetime | None = _time()


class RequestKey(SQLModel, table=True):
    """Which run an Idempotency-Key of a user answered with."""

    __tablename__ = "request_key"
    __table_args__ = {"schema": "ledger"}

    user_id: str = Field(sa_column=Column(Text, primary_key=True))
    key: str = Field(sa_column=Column(Text, primary_key=True))
    fingerprint: str = Field(sa_type=Text)
    run_id: UUID = Field(sa_column=Column(Uuid, nullable=False))
    expires_at: datetime = _time(nullable=False)


class Dataset(SQLModel, table=True):
    """A stored dataset; equal bytes are one, equal sets of rows share `set_sha256`."""

    __table_args__ = {"schema": "ledger"}

    sha256: str = Field(sa_column=Column(Text, primary_key=True))
    set_sha256: str | None = Field(default=None, sa_type=Text)
    row_count: int
    byte_count: int = Field(sa_column=Column(BigInteger, nullable=False))  # of the canonical JSONL
    created_at: datetime = _time(nullable=False)
    used_at: datetime = _time(nullable=False)


class DownloadToken(SQLModel, table=True):
    """The right to download a run's dataset once; the token itself is not kept."""

    __tablename__ = "download_token"
    __table_args__ = {"schema": "ledger"}

    sha256: str = Field(sa_column=Column(Text, primary_key=True))
    run_id: UUID = Field(sa_column=Column(Uuid, nullable=False))
    issued_to: str = Field(sa_type=Text)
    issued_at: datetime = _time(nullable=False)
    expires_at: datetime = _time(nullable=False)
    used_at: datetime | None = _time()


class DatasetChunk(SQLModel, table=True):
    """One zlib-compressed piece of a dataset's canonical JSONL."""

    __tablename__ = "dataset_chunk"
    __table_args__ = {"schema": "ledger"}

    sha256: str = Field(sa_column=Column(Text, primary_key=True))
    number: int = Field(primary_key=True)
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
