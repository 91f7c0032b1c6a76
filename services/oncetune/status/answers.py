"""What status answers, as types. What is not known yet is left out, never null (GATEWAY_CONTRACT, section 3)."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.json_schema import SkipJsonSchema

from oncetune.contracts.run import RunState
from oncetune.gateway.openapi import refusals

Absent = SkipJsonSchema[None]
UnixSeconds = Annotated[int, Field(description="Unix seconds")]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]

BAD_CURSOR = refusals({400: {"invalid_cursor": "cursor: give next_cursor of the page before, unchanged"}})
NOT_FOUND = refusals({404: {"run_not_found": "There is no such run"}})
_RUN_ID = "0199f3a4-6c1e-7d52-9a3b-5e8f0c2d4b61"
_RUN: dict[str, Any] = {
    "run_id": _RUN_ID,
    "status": "completed",
    "metrics": {"loss": 0.31, "reward_margin": 1.8},
    "started_at": 1767000010,
    "finished_at": 1767000190,
    "kb_id": "support",
    "exp_name": "friendlier answers",
    "base_model": "zephyr",
    "attempt": 1,
    "strikes": 0,
    "artifact": {"uri": "file:///artifacts/run/1", "sha256": "ab" * 32},
    "created_at": 1767000000,
}


class RunFault(BaseModel):
    """Why a run failed."""

    code: str
    message: str


class StoredAdapter(BaseModel):
    """Where the adapter lies, and the SHA-256 (hex) of its folder."""

    uri: str
    sha256: str | Absent = None


class KeptCheckpoint(BaseModel):
    """What an attempt can go on from: the artifacts' `<run_id>/checkpoints/<attempt>/<step>/`."""

    step: Annotated[int, Field(ge=1)]


class RunDataset(BaseModel):
    """The stored rows of a run."""

    sha256: str
    rows: int


class RunAnswer(BaseModel):
    """Where a run stands."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RUN]})

    run_id: UUID
    status: RunState
    metrics: dict[str, JsonValue] | Absent = None
    started_at: UnixSeconds | Absent = None
    finished_at: UnixSeconds | Absent = None
    error: RunFault | Absent = None
    kb_id: str
    exp_name: str
    base_model: str
    attempt: int
    strikes: int
    progress: Annotated[dict[str, JsonValue] | Absent, Field(description="The newest report of a running run")] = None
    artifact: StoredAdapter | Absent = None
    checkpoint: Annotated[
        KeptCheckpoint | Absent, Field(description="The newest one; a cancelled run keeps it, an ended one does not")
    ] = None
    parent_run_id: Annotated[UUID | Absent, Field(description="The run that this one repeats")] = None
    dataset: Annotated[RunDataset | Absent, Field(description="Once it is stored; not in lists")] = None
    created_at: UnixSeconds


class RunsAnswer(BaseModel):
    """The newest runs first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"runs": [_RUN]}]})

    runs: list[RunAnswer]
    next_cursor: Annotated[str | Absent, Field(description="There may be more: give it as `cursor`")] = None


class TrailEvent(BaseModel):
    """One event of the audit trail."""

    position: Annotated[int, Field(ge=1)]
    type: str
    event_id: UUID
    occurred_at: str | None
    received_at: Moment
    data: dict[str, JsonValue]


class TrailAnswer(BaseModel):
    """A run's audit trail, and what was dropped or is still on its way."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "run_id": _RUN_ID,
                    "events": [
                        {
                            "position": 1,
                            "type": "run.requested",
                            "event_id": "0199f3a4-6c1f-7a01-8b2c-1d3e5f7a9b0c",
                            "occurred_at": "2025-12-29T09:20:00+00:00",
                            "received_at": "2025-12-29T09:20:00.250000+00:00",
                            "data": {"kb_id": "support", "occurred_at": "2025-12-29T09:20:00+00:00"},
                        }
                    ],
                    "gapless": True,
                    "duplicates": 0,
                    "pending": 0,
                    "conflicts": 0,
                    "dead_letters": 0,
                }
            ]
        }
    )

    run_id: UUID
    events: list[TrailEvent]
    gapless: Annotated[bool, Field(description="Positions 1, 2, 3 … stand once each, or are on their way")]
    duplicates: Annotated[int, Field(description="Repeated deliveries that were dropped")]
    pending: Annotated[int, Field(description="Events that the journal does not hold yet")]
    conflicts: Annotated[int, Field(description="Events that came with two contents")]
    dead_letters: Annotated[int, Field(description="Deliveries that came back as dead letters: see /dead-letters")]
