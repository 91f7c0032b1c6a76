import re
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from oncetune.contracts.envelope import Envelope
from oncetune.contracts.topics import RUN_LIFECYCLE
from oncetune.dapr import Reply
from oncetune.postgres import transaction
from oncetune.status.intake import journal
from oncetune.status.journal import Outcome, append_events
from tests.deadline import eventually
from tests.status.given import delivery_counts, envelope, journalled, progress_event, rows, statements_of


def append(engine, events):
    with transaction(engine) as session:
        return append_events(session, events)


def test_a_batch_with_old_and_inner_duplicates_is_exact_with_one_insert_and_one_select(engine):
    status = engine("status")
    old = [envelope(progress_event(position=n)) for n in range(1, 51)]
    new = [envelope(progress_event(position=n)) for n in range(51, 81)]
    append(status, old)
    batch = [*old, *new, *new[:20]]
    assert len(batch) == 100
    with statements_of(status) as sent:
        outcomes = append(status, batch)
    assert outcomes == [Outcome.DUPLICATE] * 50 + [Outcome.OK] * 30 + [Outcome.DUPLICATE] * 20
    assert journalled(engine(None)) == {str(event.event_id) for event in old + new}
    verbs = [re.search(r"^(INSERT|SELECT|UPDATE|DELETE)", sql, re.MULTILINE)[1] for sql in sent]
    assert verbs == ["INSERT", "SELECT"]


def test_the_whole_event_is_kept_under_its_hash(engine):
    document = progress_event(note="ü 漢字 \U0001f600", small=1e-9, nested={"a": [1, 2.5, None, True]})
    event = envelope(document)
    append(engine("status"), [event])
    ((kept, hashed, run_id, position, kind),) = rows(
        engine(None), "SELECT event, hash, run_id, position, type FROM audit.journal"
    )
    assert kept == document
    assert envelope(kept).content_hash == event.content_hash == hashed
    assert (run_id, position, kind) == (event.run_id, 2, "run.progress")


def test_the_same_id_with_other_content_is_kept_apart_once_and_never_replaces_the_first(engine):
    status, event_id, run_id = engine("status"), uuid4(), uuid4()
    true = envelope(progress_event(run_id, event_id=event_id, loss=0.5))
    forged = envelope(progress_event(run_id, event_id=event_id, loss=0.1))
    assert append(status, [true]) == [Outcome.OK]
    assert append(status, [forged, true, forged]) == [Outcome.CONFLICT, Outcome.DUPLICATE, Outcome.CONFLICT]
    assert append(status, [forged]) == [Outcome.CONFLICT]
    assert rows(engine(None), "SELECT hash FROM audit.journal") == [(true.content_hash,)]
    assert rows(engine(None), "SELECT event_id, hash FROM audit.conflict") == [(event_id, forged.content_hash)]


def test_two_new_entries_of_one_batch_with_one_id_and_other_content_are_a_conflict(engine):
    event_id = uuid4()
    first = envelope(progress_event(event_id=event_id, loss=0.5))
    second = envelope(progress_event(event_id=event_id, loss=0.1))
    assert append(engine("status"), [first, second]) == [Outcome.OK, Outcome.CONFLICT]
    assert rows(engine(None), "SELECT hash FROM audit.journal") == [(first.content_hash,)]


def test_overlapping_batches_at_once_journal_each_event_once_and_never_deadlock(engine):
    status = engine("status", pool_size=8)
    events = [envelope(progress_event(position=n)) for n in range(1, 41)]
    batches = [events if n % 2 else events[::-1] for n in range(16)]
    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(lambda batch: journal(status, RUN_LIFECYCLE, batch), batches))
    assert all(reply is Reply.SUCCESS for batch in replies for reply in batch)
    assert len(journalled(engine(None))) == 40
    counted = rows(engine(None), "SELECT sum(count) FROM audit.delivery WHERE outcome = 'duplicate'")
    assert counted == [(15 * 40,)]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_batch_waits_for_another_without_holding_what_that_one_needs(engine, backwards):
    status = engine("status")
    low, high = sorted((envelope(progress_event()) for _ in range(2)), key=lambda event: event.event_id)
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    owner = engine(None)
    with ThreadPoolExecutor(1) as thread:
        with transaction(status) as session:
            append_events(session, [low])
            second = thread.submit(journal, status, RUN_LIFECYCLE, [high, low] if backwards else [low, high])
            eventually(lambda: rows(owner, waiting))
            append_events(session, [high])  # a deadlock, had the second batch begun with it
        assert second.result() == [Reply.SUCCESS, Reply.SUCCESS]


def test_an_entry_that_postgres_cannot_hold_takes_no_neighbour_with_it(engine):
    good, late = envelope(progress_event()), envelope(progress_event())
    bad = envelope(progress_event())
    unkeepable = Envelope(**(bad.model_dump() | {"document": bad.document | {"note": "\x00"}}))  # past the parser
    assert journal(engine("status"), RUN_LIFECYCLE, [good, unkeepable, late]) == [
        Reply.SUCCESS,
        Reply.DROP,
        Reply.SUCCESS,
    ]
    assert journalled(engine(None)) == {str(good.event_id), str(late.event_id)}
    assert delivery_counts(engine(None), bad.event_id) == {"invalid": 1}


def test_counts_that_cannot_be_kept_do_not_fail_the_batch(engine):
    event = envelope(progress_event())
    with engine(None).begin() as connection:
        connection.execute(text("DROP TABLE audit.delivery"))
    assert journal(engine("status"), RUN_LIFECYCLE, [event, event]) == [Reply.SUCCESS, Reply.SUCCESS]
    assert journalled(engine(None)) == {str(event.event_id)}


@pytest.mark.parametrize("change", ["UPDATE audit.journal SET type = 'x'", "DELETE FROM audit.journal"])
def test_status_cannot_change_what_it_journalled(engine, change):
    append(engine("status"), [envelope(progress_event())])
    with pytest.raises(ProgrammingError, match="permission denied"), engine("status").begin() as connection:
        connection.execute(text(change))
