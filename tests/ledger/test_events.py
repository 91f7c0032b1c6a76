"""What the ledger's SQL writes is what `contracts.events` says, field by field."""

import json
from datetime import datetime
from uuid import uuid4

import pytest

from oncetune.contracts.envelope import content_hash, read_envelope, read_event
from oncetune.contracts.events import RunCancelled, RunEvent, RunProgress, RunRequeued
from oncetune.contracts.progress import child_line
from oncetune.ledger.leases import finish_run, renew_lease
from oncetune.postgres import transaction
from tests.ledger import paths
from tests.ledger.given import change, claim, record


def typed(document) -> RunEvent:
    """The event of a document that has travelled as bytes."""
    return read_event(read_envelope(json.dumps(document).encode()))


@pytest.mark.parametrize("walk", paths.PATHS, ids=lambda walk: walk.__name__)
def test_every_event_on_every_path_has_exactly_the_fields_of_its_class(engine, walk):
    trigger = engine("trigger")
    published = paths.documents(trigger, walk(trigger, engine("trainer"), "kb"))
    assert [document["type"] for document in published] == [f"run.{word}" for word in paths.PATHS[walk]]
    assert [document["data"]["position"] for document in published] == list(range(1, len(published) + 1))
    for document in published:
        assert set(document["data"]) == set(type(typed(document)).model_fields) - {"event_id", "type"}


def test_the_paths_together_write_every_kind_of_event_there_is():
    written = {f"run.{word}" for words in paths.PATHS.values() for word in words}
    assert written == {kind.model_fields["type"].default for kind in RunEvent.__args__}


def test_an_event_says_what_the_run_says(engine):
    trigger, trainer = engine("trigger"), engine("trainer")
    requested, started, progress, requeued, again, completed = map(
        typed, paths.documents(trigger, paths.completed(trigger, trainer, "kb"))
    )
    assert (requested.user_id, requested.kb_id, requested.dataset_rows) == ("ann", "kb", 1)
    assert (started.worker, started.attempt, again.attempt) == ("trainer-1", 1, 2)
    assert (progress.step, progress.loss, progress.reward_accuracy) == (1, 0.5, 1.0)
    assert (requeued.reason, requeued.strikes, requeued.available_at.utcoffset()) == (
        "released", 0, datetime.fromisoformat("2026-01-01T00:00Z").utcoffset(),
    )  # fmt: skip
    assert (completed.attempt, completed.metrics) == (2, paths.METRICS)


def test_a_run_that_died_too_often_says_how_often_and_of_what(engine):
    trigger = engine("trigger")
    *_, requeued, _, failed = map(
        typed, paths.documents(trigger, paths.failed_by_strikes(trigger, engine("trainer"), "kb"))
    )
    assert isinstance(requeued, RunRequeued)
    assert (requeued.reason, requeued.strikes) == ("child_died", 1)
    assert failed.code == "attempts_exhausted"
    assert failed.message == "2 attempts ended without a result; the last one: child_died. exit status 137"


def test_a_run_cancelled_before_anybody_tried_it_says_attempt_0(engine):
    trigger = engine("trigger")
    _, cancelled = map(typed, paths.documents(trigger, paths.cancelled_while_queued(trigger, engine("trainer"), "kb")))
    assert isinstance(cancelled, RunCancelled)
    assert cancelled.attempt == 0


def test_the_request_s_trace_goes_with_every_event_of_its_run(engine):
    trigger, trainer = engine("trigger"), engine("trainer")
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    run_id = record(trigger).run_id
    change(engine(None), "UPDATE ledger.run SET traceparent = :trace", trace=trace)
    with transaction(trainer) as session:
        finish_run(session, claim(trainer), event_id=uuid4(), state="failed", error={"code": "x", "message": "x"})
    first, *later = paths.documents(trigger, run_id)
    assert "origintraceparent" not in first
    assert [document["origintraceparent"] for document in later] == [trace, trace]


SAID = ["1e15", "1e20", "-1e300", "NaN", "-Infinity", "5e-324", "0.1", "-0.0", "1" + 30 * "0"]


@pytest.mark.parametrize("number", SAID)
def test_whatever_number_a_child_says_its_events_can_be_read_and_stay_the_same(engine, number):
    """jsonb and Go spell 1e20 with all its digits, which no strict reader takes: the event would be sent for ever."""
    trigger, trainer = engine("trigger"), engine("trainer")
    run_id = record(trigger).run_id
    lease = claim(trainer)
    progress = child_line.validate_json(f'{{"kind": "progress", "loss": {number}}}')
    finished = child_line.validate_json(f'{{"kind": "finished", "metrics": {{"loss": {number}, "why": "a\\u0000"}}}}')
    with transaction(trainer) as session:
        renew_lease(session, lease, progress=progress, as_event=True)
    with transaction(trainer) as session:
        finish_run(
            session, lease, event_id=uuid4(), state="completed", metrics=finished.metrics,
            artifact_uri="file:///adapter", adapter_sha256="a" * 64,
        )  # fmt: skip
    kept = float(number) if abs(float(number)) <= 2**53 else None
    for document in paths.documents(trigger, run_id)[2:]:
        assert read_envelope(json.dumps(document).encode()).content_hash == content_hash(document)
        event = typed(document)
        assert (event.loss if isinstance(event, RunProgress) else event.metrics["loss"]) == kept


def test_the_sentence_of_a_refusal_can_be_stored_whatever_is_in_it(engine):
    trainer = engine("trainer")
    record(engine("trigger"))
    refused = child_line.validate_json(b'{"kind": "refused", "code": "bad_model", "message": "no\\u0000name"}')
    with transaction(trainer) as session:
        error = {"code": refused.code, "message": refused.message}
        assert finish_run(session, claim(trainer), event_id=uuid4(), state="failed", error=error) == "failed"
