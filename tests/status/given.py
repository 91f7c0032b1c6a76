"""Events as the relay publishes them, and ways to look at the journal."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine, event, text

from oncetune.contracts.envelope import Envelope, open_envelope, write_envelope
from oncetune.contracts.topics import RUN_LIFECYCLE
from oncetune.dapr import TOKEN_HEADER
from oncetune.ledger.leases import finish_run
from oncetune.ledger.outbox import Pace, take_events
from oncetune.postgres import transaction
from oncetune.status.intake import journal
from tests.serving import APP_TOKEN

FROM_SIDECAR = {TOKEN_HEADER: APP_TOKEN}


def progress_event(
    run_id: UUID | None = None, *, event_id: UUID | None = None, position: int = 2, **payload: Any
) -> dict[str, Any]:
    """A `run.progress` event as a CloudEvent."""
    return write_envelope(
        event_id=event_id or uuid4(),
        run_id=run_id or uuid4(),
        position=position,
        type="run.progress",
        source="/oncetune/trainer",
        occurred_at=datetime.now(UTC),
        payload={"attempt": 1, "step": position, "steps": 10, "loss": 0.5} | payload,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


def requested_event(run_id: UUID | None = None) -> dict[str, Any]:
    """A `run.requested` event; the journal reads only what every event has."""
    return progress_event(run_id, position=1) | {"type": "run.requested", "source": "/oncetune/trigger"}


def envelope(document: dict[str, Any]) -> Envelope:
    return open_envelope(document)


def bulk(*events: Any) -> bytes:
    """What a sidecar posts; entry ids are "0", "1", …"""
    kind = "application/cloudevents+json"
    return json.dumps(
        {
            "id": str(uuid4()),
            "topic": "run.lifecycle",
            "entries": [{"entryId": str(n), "event": one, "contentType": kind} for n, one in enumerate(events)],
        }
    ).encode()


def rows(engine: Engine, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """The rows of one select."""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(sql), parameters)]


def journalled(engine: Engine) -> set[str]:
    """The ids in the journal."""
    return {str(row[0]) for row in rows(engine, "SELECT event_id FROM audit.journal")}


def delivery_counts(engine: Engine, event_id: Any) -> dict[str, int]:
    """How often each outcome was counted for an event."""
    return dict(rows(engine, "SELECT outcome, count FROM audit.delivery WHERE event_id = :id", id=event_id))  # type: ignore[arg-type]


@contextmanager
def statements_of(engine: Engine) -> Iterator[list[str]]:
    """The statements that this engine sends meanwhile."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        sent.append(sql.strip())

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


def publish_all(engine) -> list:
    """Hand every event that is due to the journal; returns the envelopes."""
    with transaction(engine("trigger")) as session:
        taken = take_events(session, Pace(deadline=timedelta(0), backoff=timedelta(0)))
    events = [open_envelope(event.document) for event in taken]
    journal(engine("status"), RUN_LIFECYCLE, events)
    return events


def finish(engine, lease, **result) -> None:
    with transaction(engine("trainer")) as session:
        finish_run(session, lease, event_id=uuid4(), **result)
