"""A request is recorded as one run, once, however many ask at the same moment."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from psycopg.errors import LockNotAvailable
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from oncetune.ledger.requests import RequestInFlight, RequestKeyReused, RunActive, accept
from tests.deadline import eventually
from tests.ledger.given import MINUTE, NOTHING, count, lock_waits, record, rows_of, wanted
from tests.ledger.paths import cancel

TIMES = 64
AT_ONCE = 16


def _try(engine, kb_id, key):
    """The run and what became of the request: new, replayed or active."""
    try:
        answer = record(engine, kb_id, key=key)
    except RunActive:
        return None, "active"
    return answer.run_id, "replayed" if answer.replayed else "new"


def _at_once(engine, requests):
    with ThreadPoolExecutor(AT_ONCE) as callers:
        answers = list(callers.map(lambda request: _try(engine, *request), requests))
    return answers, Counter(outcome for _, outcome in answers)


def test_of_64_equal_requests_at_once_one_makes_the_run_and_63_are_told_it(engine):
    answers, outcomes = _at_once(engine("trigger", AT_ONCE), [("kb", "key")] * TIMES)
    assert outcomes == {"new": 1, "replayed": TIMES - 1}
    assert len({run_id for run_id, _ in answers}) == 1
    owner = engine(None)
    assert (count(owner, "ledger.run"), count(owner, "ledger.request_key"), count(owner, "ledger.outbox")) == (1, 1, 1)


def test_of_64_keys_on_one_kb_id_one_makes_the_run_and_no_other_leaves_its_key(engine):
    answers, outcomes = _at_once(engine("trigger", AT_ONCE), [("kb", f"key {number}") for number in range(TIMES)])
    assert outcomes == {"new": 1, "active": TIMES - 1}
    [held] = rows_of(engine(None), "SELECT key, run_id FROM ledger.request_key")
    assert answers[int(held.key.removeprefix("key "))] == (held.run_id, "new")


def test_of_64_requests_without_a_key_one_makes_the_run(engine):
    _, outcomes = _at_once(engine("trigger", AT_ONCE), [("kb", None)] * TIMES)
    assert outcomes == {"new": 1, "active": TIMES - 1}


def test_of_64_requests_with_an_expired_key_one_takes_it_over(engine):
    trigger = engine("trigger", AT_ONCE)
    earlier = record(trigger, key="key", key_lifetime=NOTHING).run_id
    cancel(trigger, earlier)
    answers, outcomes = _at_once(trigger, [("kb", "key")] * TIMES)
    assert outcomes == {"new": 1, "replayed": TIMES - 1}
    [(run_id,)] = {(run_id,) for run_id, _ in answers}
    assert run_id != earlier


def test_a_key_answers_with_its_run_even_when_that_has_ended(engine):
    trigger = engine("trigger")
    first = record(trigger, key="key").run_id
    cancel(trigger, first)
    again = record(trigger, key="key")
    assert (again.run_id, again.replayed) == (first, True)


def test_a_key_with_another_body_is_refused_and_changes_nothing(engine):
    trigger, owner = engine("trigger"), engine(None)
    first = record(trigger, key="key", fingerprint="one").run_id
    with pytest.raises(RequestKeyReused):
        record(trigger, "other kb", key="key", fingerprint="two")
    assert record(trigger, key="key", fingerprint="one").run_id == first
    assert count(owner, "ledger.run") == 1


def test_a_key_belongs_to_its_user(engine):
    trigger = engine("trigger")
    ann = record(trigger, "of ann", key="key", fingerprint="one", user_id="ann")
    bob = record(trigger, "of bob", key="key", fingerprint="two", user_id="bob")
    assert ann.run_id != bob.run_id
    assert not bob.replayed


def test_only_its_owner_is_told_which_run_stands_in_the_way(engine):
    trigger = engine("trigger")
    run_id = record(trigger, user_id="ann").run_id
    for user_id, told in (("ann", run_id), ("bob", None)):
        with pytest.raises(RunActive) as refusal:
            record(trigger, user_id=user_id)
        assert refusal.value.run_id == told


def test_a_refused_request_leaves_nothing_of_itself(engine, big_rows):
    trigger, owner = engine("trigger"), engine(None)
    record(trigger)
    tables = ("run", "outbox", "request_key", "dataset", "dataset_chunk")
    before = [count(owner, f"ledger.{table}") for table in tables]
    with pytest.raises(RunActive):
        record(trigger, key="key", rows=big_rows)
    assert [count(owner, f"ledger.{table}") for table in tables] == before


def test_a_request_that_is_rolled_back_leaves_nothing_and_lets_the_waiting_one_through(engine):
    trigger, owner = engine("trigger"), engine(None)
    with ThreadPoolExecutor(1) as other, Session(trigger) as session:
        lost = accept(session, wanted(), key="key", fingerprint="body", key_lifetime=MINUTE, runs_per_minute=100)
        waiting = other.submit(_try, trigger, "kb", "key")
        eventually(lambda: lock_waits(owner))
        session.rollback()
        run_id, outcome = waiting.result()
    assert outcome == "new"
    assert run_id != lost.run_id
    assert [row.run_id for row in rows_of(owner, "SELECT run_id FROM ledger.outbox")] == [run_id]


def test_who_waits_too_long_for_its_twin_is_told_so_and_who_waits_for_anything_else_is_not(engine):
    trigger = engine("trigger", lock_timeout=timedelta(milliseconds=200))
    with ThreadPoolExecutor(1) as other, Session(trigger) as session:
        accept(session, wanted(), key="key", fingerprint="body", key_lifetime=MINUTE, runs_per_minute=100)
        with pytest.raises(RequestInFlight):
            other.submit(_try, trigger, "kb", "key").result(timeout=10)
        with pytest.raises(OperationalError) as same_user:  # waits for that user's turn
            other.submit(_try, trigger, "another kb", "another key").result(timeout=10)
        session.commit()
    assert isinstance(same_user.value.orig, LockNotAvailable)
    assert _try(trigger, "kb", "key")[1] == "replayed"


def test_a_run_that_ends_while_its_kb_id_is_asked_for_again_stands_in_nobodys_way(engine, monkeypatch):
    from oncetune.ledger import requests as room

    trigger = engine("trigger")
    first = record(trigger, "kb").run_id
    active_run = room._active_run

    def end_and_look(session, kb_id):
        cancel(trigger, first)
        return active_run(session, kb_id)

    monkeypatch.setattr(room, "_active_run", end_and_look)
    assert record(trigger, "kb").run_id != first
