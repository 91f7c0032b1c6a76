"""The relay: ledger → Dapr. It publishes every event of the outbox, again and again, until the journal holds it.

At least once, and never in order: `position` orders. Taking an event books its next try before it is published, so
a crash anywhere repeats and never loses; no lock and no connection is held across the network; an event that is
refused waits for its own next try while the others go on. Any number of relays may run.
"""

import threading
from uuid import UUID

from opentelemetry.trace import SpanKind
from sqlalchemy import Engine

from oncetune.contracts.topics import topic_of
from oncetune.dapr import NotPublished, Publish
from oncetune.ledger.outbox import Pace, TakenEvent, confirm_events, take_events
from oncetune.logs import Outage, log
from oncetune.postgres import DATABASE_AWAY, transaction
from oncetune.tracing import about_message, span

_GATHER_SECONDS = 0.05  # the events of many requests go out in one pass: each pass costs as much as a request does


def relay_once(engine: Engine, publish: Publish, pace: Pace, *, stop: threading.Event) -> int:
    """Publish the events that are due and return how many were taken; 0 when none is. What `stop` leaves comes back."""
    with transaction(engine) as session:
        taken = take_events(session, pace)
    for event in taken:
        if stop.is_set():
            break
        _publish(event, publish, pace)
    return len(taken)


def _publish(event: TakenEvent, publish: Publish, pace: Pace) -> None:
    topic = topic_of(event.type)
    fields = {"event_id": str(event.event_id), "run_id": str(event.run_id), "type": event.type}
    with span(
        f"publish {topic}",
        traceparent=event.traceparent,
        kind=SpanKind.PRODUCER,
        attributes=about_message(topic, event.event_id, event.run_id),
    ):
        try:
            publish(topic, event.document, pace.deadline)
        except NotPublished as reason:
            level = log.error if event.publishes >= pace.stuck_after else log.warning
            level("event.not_published", outcome="retry", publishes=event.publishes, reason=str(reason), **fields)
        else:
            log.info("event.published", outcome="ok", publishes=event.publishes, **fields)


def confirm_once(engine: Engine, alarmed: set[UUID]) -> int:
    """End the publishing of what the journal holds; how many. A conflict is told once for each id in `alarmed`."""
    with transaction(engine) as session:
        found = confirm_events(session)
    for event_id, run_id in found.conflicting.items():
        if event_id not in alarmed:
            alarmed.add(event_id)
            log.error("event.conflict", outcome="conflict", event_id=str(event_id), run_id=str(run_id))
    return len(found.event_ids)


def relay(
    engine: Engine, publish: Publish, pace: Pace, *, wake: threading.Event, stop: threading.Event, every: float
) -> None:
    """The loop: until `stop`, each `every` seconds or as soon as `wake` is set. An absent database is waited for."""
    alarmed: set[UUID] = set()
    outage = Outage(away="relay.waits", back="relay.resumed")
    while not stop.is_set():
        busy = 0
        try:
            busy = relay_once(engine, publish, pace, stop=stop) + confirm_once(engine, alarmed)
            outage.over()
        except DATABASE_AWAY as error:
            outage.goes_on(error)
        except Exception:  # noqa: BLE001 - the outermost loop: a bug is shouted about, and the other events still go out
            log.exception("relay.broken")
        if busy < pace.batch:
            wake.wait(every)
            wake.clear()
            stop.wait(_GATHER_SECONDS)
