"""The audit tables as they are read. The migrations are the truth about them; a test compares the two."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, DateTime, LargeBinary, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class JournalEntry(SQLModel, table=True):
    """The first delivery of an event, whole."""

    __tablename__ = "journal"
    __table_args__ = {"schema": "audit"}

    event_id: UUID = Field(primary_key=True)
    run_id: UUID
    position: int
    type: str = Field(sa_type=Text)
    hash: str = Field(sa_type=Text)
    event: dict[str, Any] = Field(sa_type=JSONB)
    received_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


class Delivery(SQLModel, table=True):
    """How often an event was delivered with this outcome; telemetry, not part of the trail."""

    __tablename__ = "delivery"
    __table_args__ = {"schema": "audit"}

    event_id: UUID = Field(primary_key=True)
    outcome: str = Field(sa_column=Column(Text, primary_key=True))
    run_id: UUID | None = None
    count: int = Field(sa_type=BigInteger)
    first_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    last_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


class DeadLetter(SQLModel, table=True):
    """Bytes that came over a dead-letter topic, under the topic that they failed on."""

    __tablename__ = "dead_letter"
    __table_args__ = {"schema": "audit"}

    topic: str = Field(sa_column=Column(Text, primary_key=True))
    sha256: str = Field(sa_column=Column(Text, primary_key=True))
    reason: str = Field(sa_type=Text)
    body: bytes = Field(sa_type=LargeBinary)
    received_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


class DeadLetterDecision(SQLModel, table=True):
    """What somebody decided about a dead letter, once and for ever."""

    __tablename__ = "dead_letter_decision"
    __table_args__ = {"schema": "audit"}

    topic: str = Field(sa_column=Column(Text, primary_key=True))
    sha256: str = Field(sa_column=Column(Text, primary_key=True))
    decision: str = Field(sa_type=Text)
    outcome: str | None = Field(default=None, sa_type=Text)
    decided_by: str = Field(sa_type=Text)
    decided_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
