"""What status answers about dead letters, as types. What is not known is left out, never null."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from oncetune.contracts.topics import DEAD_LETTER
from oncetune.gateway.openapi import refusals
from oncetune.status.answers import Absent, Moment
from oncetune.status.dead_letters import Decision
from oncetune.status.journal import Outcome

TOPIC = "(" + "|".join(topic.replace(".", r"\.") for topic in sorted(DEAD_LETTER)) + ")"
ID_PATTERN = f"^[0-9a-f]{{64}}:{TOPIC}$"

NO_LETTER = refusals({404: {"dead_letter_not_found": "There is no such dead letter"}})
NO_REPLAY = refusals(
    {
        404: {"dead_letter_not_found": "There is no such dead letter"},
        422: {"no_event": "This dead letter is no event of a run (not JSON), so it can only be discarded"},
    }
)
_DECISION: dict[str, Any] = {
    "decision": "replayed",
    "outcome": "ok",
    "decided_by": "ann",
    "decided_at": "2025-12-29T10:00:00+00:00",
}
_LETTER: dict[str, Any] = {
    "id": "5e" * 32 + ":run.lifecycle",
    "topic": "run.lifecycle",
    "reason": "readable, but its deliveries failed",
    "size": 512,
    "received_at": "2025-12-29T09:30:00+00:00",
}
_EVENT: dict[str, Any] = {
    "event_id": "0199f3a4-6c1f-7a01-8b2c-1d3e5f7a9b0c",
    "run_id": "0199f3a4-6c1e-7d52-9a3b-5e8f0c2d4b61",
    "position": 2,
    "type": "run.started",
    "source": "/oncetune/trainer",
    "data": {"attempt": 1, "worker": "gpu-a", "occurred_at": "2025-12-29T09:20:00Z"},
}


class DecisionAnswer(BaseModel):
    """What was decided about a dead letter: the first decision stands."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DECISION]})

    decision: Decision
    outcome: Annotated[Outcome | Absent, Field(description="Of a replay: what the journal made of the event")] = None
    decided_by: str
    decided_at: Moment


class LetterAnswer(BaseModel):
    """Bytes that failed on a topic, without the bytes."""

    id: Annotated[str, Field(pattern=ID_PATTERN, description="The SHA-256 of the bytes and the topic")]
    topic: str
    reason: str
    size: Annotated[int, Field(ge=0, description="Bytes")]
    received_at: Moment
    decision: DecisionAnswer | Absent = None


class LettersAnswer(BaseModel):
    """The newest dead letters first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"dead_letters": [_LETTER]}]})

    dead_letters: list[LetterAnswer]
    next_cursor: Annotated[str | Absent, Field(description="There may be more: give it as `cursor`")] = None


class DeadEvent(BaseModel):
    """The event that the bytes are."""

    event_id: UUID
    run_id: UUID
    position: int
    type: str
    source: str
    data: Annotated[
        dict[str, JsonValue] | Absent, Field(description="The fields that events of this type have, and no others")
    ] = None


class WholeLetterAnswer(LetterAnswer):
    """A dead letter with its event; without one it can only be discarded."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LETTER | {"event": _EVENT, "decision": _DECISION}]})

    event: DeadEvent | Absent = None
