"""`run.requested` as a trainer takes it: a hint to claim that run now. The ledger decides, the journal audits."""

from typing import Annotated

from dapr.ext.fastapi import DaprApp
from fastapi import Depends, Request
from opentelemetry.trace import SpanKind

from oncetune.contracts.envelope import Envelope, UnreadableEvent, read_envelope
from oncetune.contracts.topics import DEAD_LETTER, PUBSUB, ROUTE, RUN_REQUESTED
from oncetune.dapr import QUORUM, Reply, delivered
from oncetune.logs import about, log
from oncetune.postgres import DATABASE_AWAY
from oncetune.telemetry import count_event
from oncetune.tracing import about_message, span
from oncetune.trainer.slot import Offer, Slot


def subscribe(dapr: DaprApp) -> None:
    """Add the subscription and its route."""
    dapr.subscribe(
        pubsub=PUBSUB,
        topic=RUN_REQUESTED,
        metadata=QUORUM,
        route=ROUTE[RUN_REQUESTED],
        dead_letter_topic=DEAD_LETTER[RUN_REQUESTED],
    )(receive_run_requested)


def receive_run_requested(body: Annotated[bytes, Depends(delivered)], request: Request) -> dict[str, Reply]:
    """Claim that very run, at once if this trainer is free; a busy one answers SUCCESS, its poll claims later."""
    slot: Slot = request.app.state.slot
    try:
        event = read_envelope(body)
    except UnreadableEvent as reason:
        # SUCCESS: status sends its own copy to the dead letters, one is enough.
        log.warning("event.invalid", outcome="invalid", reason=str(reason))
        count_event("trainer", RUN_REQUESTED, "invalid")
        return {"status": Reply.SUCCESS}
    named = about_message(RUN_REQUESTED, event.event_id, event.run_id)
    with (
        about(run_id=str(event.run_id), event_id=str(event.event_id)),
        span(f"process {RUN_REQUESTED}", traceparent=event.traceparent, kind=SpanKind.CONSUMER, attributes=named),
    ):
        outcome, reply = _claim(slot, event)
    count_event("trainer", RUN_REQUESTED, outcome, event.occurred_at)
    return {"status": reply}


def _claim(slot: Slot, event: Envelope) -> tuple[str, Reply]:
    try:
        offer = slot.offer(event.run_id)
    except DATABASE_AWAY as error:
        log.warning("event.retry", outcome="retry", reason=type(error).__name__)
        return "retry", Reply.RETRY
    outcome = "duplicate" if offer is Offer.NOTHING else "ok"
    log.info("event.processed", outcome=outcome, offer=offer.value, type=event.type)
    return outcome, Reply.SUCCESS
