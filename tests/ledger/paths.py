"""Every way in which the ledger writes an event, walked with the real statements."""

from datetime import timedelta
from uuid import UUID, uuid4

from pydantic import JsonValue
from sqlalchemy import Engine

from oncetune.contracts.progress import Progress
from oncetune.ledger.datasets import store_fetched_dataset
from oncetune.ledger.leases import EndReason, Lease, StrikeRule, end_lease, finish_run, renew_lease
from oncetune.ledger.outbox import Pace, take_events
from oncetune.ledger.requests import request_cancel
from oncetune.postgres import transaction
from tests.ledger.given import NOTHING, ROWS, change, claim, record, record_url

AT_ONCE = StrikeRule(max_strikes=2, max_backoff=NOTHING)
ALL_DUE = Pace(deadline=NOTHING, backoff=NOTHING, max_backoff=NOTHING, slow=NOTHING, batch=1000, window=1000)
METRICS: dict[str, JsonValue] = {"loss": 0.25, "reward_margin": 1.5, "steps": 3, "optimizer": "adamw"}


def completed(trigger: Engine, trainer: Engine, kb_id: str) -> UUID:
    """Progress, a released lease, and a second attempt that completes."""
    run_id = record(trigger, kb_id).run_id
    first = _claimed(trainer, run_id)
    progress = Progress(step=1, steps=3, loss=0.5, reward_margin=0.75, reward_accuracy=1.0)
    with transaction(trainer) as session:
        renew_lease(session, first, progress=progress, as_event=True)
    end(trainer, first, EndReason.RELEASED)
    with transaction(trainer) as session:
        finish_run(
            session, _claimed(trainer, run_id), event_id=uuid4(), state="completed",
            metrics=METRICS, artifact_uri="file:///adapters/1/adapter", adapter_sha256="a" * 64,
        )  # fmt: skip
    return run_id


def completed_of_url(trigger: Engine, trainer: Engine, kb_id: str) -> UUID:
    run_id = record_url(trigger, kb_id)
    lease = _claimed(trainer, run_id)
    with transaction(trainer) as session:
        store_fetched_dataset(session, lease, ROWS)
    with transaction(trainer) as session:
        finish_run(
            session, lease, event_id=uuid4(), state="completed",
            metrics=METRICS, artifact_uri="file:///adapters/1/adapter", adapter_sha256="a" * 64,
        )  # fmt: skip
    return run_id


def failed_by_itself(trigger: Engine, trainer: Engine, kb_id: str) -> UUID:
    run_id = record(trigger, kb_id).run_id
    _fail(trainer, _claimed(trainer, run_id))
    return run_id


def failed_by_strikes(trigger: Engine, trainer: Engine, kb_id: str) -> UUID:
    run_id = record(trigger, kb_id).run_id
    for _ in range(AT_ONCE.max_strikes):
        end(trainer, _claimed(trainer, run_id), EndReason.CHILD_DIED)
    return run_id


def cancelled_while_queued(trigger: Engine, trainer: Engine, kb_id: str) -> UUID:
    run_id = record(trigger, kb_id).run_id
    cancel(trigger, run_id)
    return run_id


def cancelled_while_running(trigger: Engine, trainer: Engine, kb_id: str) -> UUID:
    run_id = record(trigger, kb_id).run_id
    lease = _claimed(trainer, run_id)
    cancel(trigger, run_id)
    end(trainer, lease, EndReason.CANCELLED)
    return run_id


def cancelled_by_its_failure(trigger: Engine, trainer: Engine, kb_id: str) -> UUID:
    """It fails after somebody asked it to stop."""
    run_id = record(trigger, kb_id).run_id
    lease = _claimed(trainer, run_id)
    cancel(trigger, run_id)
    _fail(trainer, lease)
    return run_id


PATHS = {
    completed: ["requested", "started", "progress", "requeued", "started", "completed"],
    completed_of_url: ["requested", "started", "dataset_stored", "completed"],
    failed_by_itself: ["requested", "started", "failed"],
    failed_by_strikes: ["requested", "started", "requeued", "started", "failed"],
    cancelled_while_queued: ["requested", "cancelled"],
    cancelled_while_running: ["requested", "started", "cancel_requested", "cancelled"],
    cancelled_by_its_failure: ["requested", "started", "cancel_requested", "cancelled"],
}


def end(engine: Engine, lease: Lease, reason: EndReason, rule: StrikeRule = AT_ONCE) -> str | None:
    with transaction(engine) as session:
        return end_lease(session, lease.run_id, lease.attempt, reason=reason, rule=rule, message="exit status 137")


def cancel(trigger: Engine, run_id: UUID) -> None:
    with transaction(trigger) as session:
        request_cancel(session, run_id, requested_by="ann")


def make_due(owner: Engine) -> None:
    """Let the time until every event's next try have passed."""
    change(owner, "UPDATE ledger.outbox SET publish_after = now() - interval '1 s' WHERE confirmed_at IS NULL")


def documents(trigger: Engine, run_id: UUID) -> list[dict[str, JsonValue]]:
    """The run's events as they are published, in their order."""
    with transaction(trigger) as session:
        taken = [event.document for event in take_events(session, ALL_DUE) if event.run_id == run_id]
    return sorted(taken, key=lambda document: document["data"]["position"])


def _claimed(trainer: Engine, run_id: UUID) -> Lease:
    lease = claim(trainer, "trainer-1", lasting=timedelta(minutes=5), run_id=run_id)
    assert lease is not None
    return lease


def _fail(trainer: Engine, lease: Lease) -> None:
    error = {"code": "rows_too_long", "message": "Raise max_length."}
    with transaction(trainer) as session:
        finish_run(session, lease, event_id=uuid4(), state="failed", error=error)
