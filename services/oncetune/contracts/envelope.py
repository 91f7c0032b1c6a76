"""CloudEvents 1.0 (structured JSON, `application/cloudevents+json`): how an event travels, and how it is recognised.

Dapr keeps id, source, type, subject, our extension attributes and data; it rewrites topic, pubsubname and the trace
fields, may reorder keys and may write 1.0 as 1. So an event's identity is `content_hash`: over id, source, type,
subject and data only (data holds the position), with sorted keys and one spelling for a number.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from oncetune.contracts.events import RunEvent, run_event
from oncetune.contracts.strict_json import UnreadableJson, parse

CONTENT_TYPE = "application/cloudevents+json"
TRACE = "origintraceparent"  # not `traceparent`, which daprd overwrites at every publish
SCHEMA_VERSION = "1"


class UnreadableEvent(ValueError):
    """Not an event of a run: it can never be journalled, so it belongs with the dead letters."""


class Envelope(BaseModel):
    """A CloudEvent that names a run. Unknown types and attributes are kept, not judged."""

    model_config = ConfigDict(frozen=True)

    event_id: UUID
    run_id: UUID
    position: int
    type: str
    content_hash: str  # 64 hex digits
    document: dict[str, JsonValue]  # the whole event as it arrived

    @property
    def occurred_at(self) -> datetime | None:
        """The event's own time; None where it tells none that can be read."""
        try:
            time = datetime.fromisoformat(str(self.document.get("time")))
        except ValueError:
            return None
        return time if time.tzinfo else None

    @property
    def traceparent(self) -> str | None:
        """The trace of the request that the event goes back to."""
        carried = self.document.get(TRACE)
        return carried if isinstance(carried, str) else None


def write_envelope(
    *,
    event_id: UUID,
    run_id: UUID,
    position: int,
    type: str,
    source: str,
    occurred_at: datetime,
    payload: Mapping[str, JsonValue],
    traceparent: str | None = None,
) -> dict[str, JsonValue]:
    """The CloudEvent of one outbox row, and of nothing else: a later version of this package writes the same.

    `payload` holds the fields of the event's class beyond those of every event; `source` is the path of the
    service that made it, `/oncetune/trigger` say.
    """
    time = occurred_at.astimezone(UTC).isoformat()
    document: dict[str, JsonValue] = {
        "specversion": "1.0",
        "id": str(event_id),
        "source": source,
        "type": type,
        "subject": str(run_id),
        "time": time,
        "datacontenttype": "application/json",
        "dataschemaversion": SCHEMA_VERSION,
        "data": {"run_id": str(run_id), "position": position, "occurred_at": time, **payload},
    }
    if traceparent:
        document[TRACE] = traceparent
    return document


def _canonical(value: JsonValue) -> JsonValue:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _canonical(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_canonical(member) for member in value]
    return value


def content_hash(document: dict[str, JsonValue]) -> str:
    """SHA-256, in hex, of what makes this event itself; equal for every copy that Dapr or a relay delivers."""
    kept = {name: _canonical(document.get(name)) for name in ("id", "source", "type", "subject", "data")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _uuid(document: dict[str, JsonValue], name: str) -> UUID:
    try:
        return UUID(str(document.get(name)))
    except ValueError as error:
        raise UnreadableEvent(f"{name} is not a UUID") from error


def open_envelope(document: JsonValue) -> Envelope:
    """Read what the journal needs: id, run and position. Raises UnreadableEvent; an unknown type is readable."""
    if not isinstance(document, dict):
        raise UnreadableEvent("the event is not a JSON object")
    if document.get("specversion") != "1.0":
        raise UnreadableEvent("specversion is not 1.0")
    for name in ("source", "type"):
        if not isinstance(document.get(name), str) or not document[name]:
            raise UnreadableEvent(f"{name} is missing")
    data = document.get("data")
    position = data.get("position") if isinstance(data, dict) else None
    if not isinstance(position, int) or isinstance(position, bool) or not 1 <= position < 2**31:
        raise UnreadableEvent("data.position is not a whole number from 1")
    return Envelope(
        event_id=_uuid(document, "id"),
        run_id=_uuid(document, "subject"),
        position=position,
        type=str(document["type"]),
        content_hash=content_hash(document),
        document=document,
    )


def read_envelope(body: bytes) -> Envelope:
    """`open_envelope` of raw bytes."""
    try:
        return open_envelope(parse(body))
    except UnreadableJson as error:
        raise UnreadableEvent(str(error)) from error


def read_event(envelope: Envelope) -> RunEvent:
    """The typed event inside; raises UnreadableEvent when its type is unknown or its data does not fit."""
    data = envelope.document["data"]
    assert isinstance(data, dict)
    try:
        return run_event.validate_python({**data, "event_id": envelope.event_id, "type": envelope.type})
    except ValidationError as error:
        raise UnreadableEvent(f"{envelope.type}: {error.error_count()} fields do not fit") from error
