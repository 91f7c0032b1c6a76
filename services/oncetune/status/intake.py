"""From what was delivered to the journal, and back to one answer for each: what the subscriptions do.

One log line for each event of each delivery tells its `outcome`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat

from opentelemetry.trace import SpanKind
from sqlalchemy import Engine
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from oncetune.contracts.envelope import Envelope
from oncetune.dapr import Reply
from oncetune.logs import log
from oncetune.postgres import transaction
from oncetune.status.deliveries import Unreadable, read_one
from oncetune.status.journal import Counted, Outcome, append_events, count_deliveries, keep_dead_letter
from oncetune.status.measure import measure_runs
from oncetune.telemetry import count_event
from oncetune.tracing import about_message, span

REPLY = {
    Outcome.OK: Reply.SUCCESS,
    Outcome.DUPLICATE: Reply.SUCCESS,
    Outcome.CONFLICT: Reply.SUCCESS,
    Outcome.INVALID: Reply.DROP,
    Outcome.RETRY: Reply.RETRY,
}
COUNTED = (Outcome.DUPLICATE, Outcome.CONFLICT, Outcome.INVALID)


def journal(engine: Engine, topic: str, delivered: Sequence[Envelope | Unreadable]) -> list[Reply]:
    """Journal what can be read and answer each, in order. Never raises for content or for an absent database."""
    began = time.time_ns()
    away = {}
    try:
        readable: Iterator[Outcome] = iter(
            _append(engine, [event for event in delivered if isinstance(event, Envelope)])
        )
    except (DBAPIError, PoolTimeout) as error:  # away, a deadlock, out of time: the event is not at fault
        readable = repeat(Outcome.RETRY)
        away = {"reason": type(error.orig if isinstance(error, DBAPIError) else error).__name__}
    outcomes = [next(readable) if isinstance(event, Envelope) else Outcome.INVALID for event in delivered]
    for event, outcome in zip(delivered, outcomes, strict=True):
        _tell(topic, event, outcome, began, away)
    counted = [
        Counted(event.event_id, outcome, event.run_id)
        for event, outcome in zip(delivered, outcomes, strict=True)
        if outcome in COUNTED
    ]
    _count(engine, counted)
    fresh = zip(delivered, outcomes, strict=True)
    measure_runs(engine, [event for event, outcome in fresh if outcome is Outcome.OK and isinstance(event, Envelope)])
    return [REPLY[outcome] for outcome in outcomes]


def store_dead_letter(engine: Engine, topic: str, body: bytes) -> Reply:
    """Keep a dead letter of `topic`, whatever its bytes are; RETRY while the database is away."""
    event = read_one(body)
    reason = event.reason if isinstance(event, Unreadable) else "readable, but its deliveries failed"
    try:
        with transaction(engine) as session:
            sha256 = keep_dead_letter(session, topic=topic, body=body, reason=reason)
    except (DBAPIError, PoolTimeout) as error:
        away = {"outcome": Outcome.RETRY.value, "topic": topic, "reason": type(error).__name__}
        log.warning("dead_letter.retry", **away, **_ids(event))
        count_event("status", topic, Outcome.RETRY.value)
        return Reply.RETRY
    kept = {"outcome": Outcome.DEAD_LETTER.value, "topic": topic, "sha256": sha256, "reason": reason}
    log.warning("dead_letter.stored", **kept, **_ids(event))
    count_event("status", topic, Outcome.DEAD_LETTER.value)
    _count(engine, [Counted(event.event_id, Outcome.DEAD_LETTER, event.run_id)])
    return Reply.SUCCESS


def _append(engine: Engine, events: Sequence[Envelope]) -> list[Outcome]:
    if not events:
        return []
    try:
        with transaction(engine) as session:
            return append_events(session, events)
    except DataError:  # Postgres cannot hold one of them, for a reason that the strict parser does not know
        if len(events) == 1:
            return [Outcome.INVALID]
        return [outcome for event in events for outcome in _append(engine, [event])]


def _count(engine: Engine, counted: Sequence[Counted]) -> None:
    if not counted:
        return
    try:
        with transaction(engine) as session:
            count_deliveries(session, counted)
    except (DBAPIError, PoolTimeout) as error:  # telemetry: the journal has what matters
        log.warning("delivery.uncounted", reason=type(error).__name__, deliveries=len(counted))


def _ids(event: Envelope | Unreadable) -> dict[str, str | None]:
    return {"event_id": str(event.event_id), "run_id": str(event.run_id) if event.run_id else None}


def _tell(topic: str, event: Envelope | Unreadable, outcome: Outcome, began: int, away: Mapping[str, str]) -> None:
    """One log line, one count and one span, which `began` (Unix nanoseconds) with the delivery."""
    if isinstance(event, Unreadable):
        count_event("status", topic, outcome.value)
        log.warning("event.invalid", outcome=outcome.value, reason=event.reason, **_ids(event))
        return
    count_event("status", topic, outcome.value, event.occurred_at)
    named = about_message(topic, event.event_id, event.run_id)
    process = f"process {topic}"
    with span(process, traceparent=event.traceparent, kind=SpanKind.CONSUMER, started=began, attributes=named):
        _log(event, outcome, away)


def _log(event: Envelope, outcome: Outcome, away: Mapping[str, str]) -> None:
    fields = {"outcome": outcome.value, "type": event.type, "position": event.position, **_ids(event)}
    if outcome is Outcome.CONFLICT:  # an alarm: the relay cannot confirm its own event any more
        log.error("event.conflict", hash=event.content_hash, **fields)
    elif outcome in (Outcome.INVALID, Outcome.RETRY):
        log.warning(f"event.{outcome.value}", **fields, **away)
    else:
        log.info("event.processed", **fields)
