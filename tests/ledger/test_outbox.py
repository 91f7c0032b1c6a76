"""Every change is one numbered event, and every event is published until the journal holds it."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Event
from uuid import UUID

import pytest

from oncetune.contracts.envelope import content_hash
from oncetune.contracts.progress import Progress
from oncetune.dapr import NotPublished
from oncetune.ledger.leases import renew_lease
from oncetune.ledger.outbox import Pace, backlog, confirm_events, take_events
from oncetune.postgres import transaction
from oncetune.trigger.relay import relay_once
from tests.ledger.given import change, claim, record, rows_of
from tests.ledger.paths import cancel, make_due

PACE = Pace()


def _take(engine, pace=PACE):
    with transaction(engine) as session:
        return take_events(session, pace)


def _confirm(engine):
    with transaction(engine) as session:
        return confirm_events(session)


def _backlog(engine, pace=PACE):
    with transaction(engine) as session:
        return backlog(session, pace)


def _record(engine, times, prefix="kb"):
    return [record(engine, f"{prefix}{number}").run_id for number in range(times)]


def _journal(status, document, digest=None):
    """As status writes a delivery; `digest` forges its content."""
    change(
        status,
        "INSERT INTO audit.journal (event_id, run_id, position, type, hash, event)"
        " VALUES (:event_id, :run_id, :position, :type, :hash, CAST(:event AS jsonb))",
        event_id=document["id"], run_id=document["subject"], position=document["data"]["position"],
        type=document["type"], hash=digest or content_hash(document), event=json.dumps(document),
    )  # fmt: skip


def test_the_positions_of_a_run_have_no_gap_however_many_write_at_once(engine):
    trigger, trainer, owner = engine("trigger", 8), engine("trainer", 8), engine(None)
    run_id = record(trigger).run_id
    lease = claim(trainer)

    def tell(step):
        if step % 10 == 0:
            cancel(trigger, run_id)
        with transaction(trainer) as session:
            renew_lease(session, lease, progress=Progress(step=step, steps=80), as_event=step % 2 == 0)

    with ThreadPoolExecutor(16) as beats:
        list(beats.map(tell, range(80)))
    positions = [row.position for row in rows_of(owner, "SELECT position FROM ledger.outbox ORDER BY position")]
    assert positions == list(range(1, 2 + 40 + 1 + 1))  # requested, started, 40 times progress, one cancel_requested
    assert rows_of(owner, "SELECT position FROM ledger.run")[0].position == positions[-1]


def test_taking_an_event_books_its_next_try(engine):
    trigger = engine("trigger")
    _record(trigger, 3)
    assert len(_take(trigger)) == 3
    assert _take(trigger) == []
    make_due(engine(None))
    assert [event.publishes for event in _take(trigger)] == [2, 2, 2]


def test_the_pause_before_the_next_try_grows_to_its_limit_and_is_never_shorter_than_the_deadline(engine):
    trigger, owner = engine("trigger"), engine(None)
    record(trigger)
    pauses = []
    for _ in range(PACE.stuck_after + 1):
        make_due(owner)
        _take(trigger)
        [row] = rows_of(owner, "SELECT publish_after - clock_timestamp() AS pause FROM ledger.outbox")
        pauses.append((row.pause - PACE.deadline).total_seconds())
    for tries, pause in enumerate(pauses, 1):
        limit = PACE.slow if tries >= PACE.stuck_after else PACE.max_backoff
        middle = min(limit.total_seconds(), 2.0 ** (tries - 1))
        assert 0.5 * middle - 1 < pause < 1.5 * middle + 1


def test_nothing_is_locked_while_an_event_is_on_its_way(engine):
    trigger, owner = engine("trigger", 2), engine(None)
    _record(trigger, 2)
    seen = []

    def publish(_topic, document, _deadline):
        change(owner, "LOCK TABLE ledger.outbox, ledger.run IN ACCESS EXCLUSIVE MODE NOWAIT")
        seen.append(document["id"])
        assert _take(trigger) == [], "its next try is booked, nobody else takes it"

    assert relay_once(trigger, publish, PACE, stop=Event()) == 2
    assert len(set(seen)) == 2


def test_relays_that_take_at_once_never_take_the_same_event(engine):
    trigger = engine("trigger", 4)
    _record(trigger, 60)

    def take_all(_relay):
        taken = []
        while batch := _take(trigger, replace(PACE, batch=5)):
            taken += [event.event_id for event in batch]
        return taken

    with ThreadPoolExecutor(4) as relays:
        taken = [event_id for part in relays.map(take_all, range(4)) for event_id in part]
    taken += take_all(0)  # what a relay that took nothing has left to the others
    assert len(taken) == len(set(taken)) == 60


def test_an_event_that_is_refused_for_ever_holds_up_no_other(engine):
    trigger, owner = engine("trigger"), engine(None)
    refused = record(trigger, "refused").run_id
    published = []

    def publish(_topic, document, _deadline):
        if document["subject"] == str(refused):
            raise NotPublished("too large")
        published.append(document["subject"])

    wanted = []
    for number in range(50):
        change(owner, "UPDATE ledger.outbox SET publish_after = now() WHERE run_id = :id", id=refused)
        wanted.append(str(record(trigger, f"kb{number}").run_id))
        relay_once(trigger, publish, replace(PACE, batch=2), stop=Event())
    assert published == wanted
    assert rows_of(owner, "SELECT publishes FROM ledger.outbox WHERE run_id = :id", id=refused)[0].publishes == 50
    assert _backlog(trigger).stuck == 1


def test_fresh_events_wait_while_the_window_is_full_and_tries_again_do_not(engine):
    trigger, owner = engine("trigger"), engine(None)
    pace = replace(PACE, batch=1, window=3)
    _record(trigger, 6)
    on_their_way = [_take(trigger, pace)[0].event_id for _ in range(3)]
    assert _take(trigger, pace) == []
    make_due(owner)
    again = [event.event_id for event in _take(trigger, replace(pace, batch=100))]
    assert sorted(again) == sorted(on_their_way)


def test_a_stuck_event_leaves_its_place_in_the_window_and_still_has_its_turn(engine):
    trigger, owner = engine("trigger"), engine(None)
    pace = replace(PACE, batch=1, window=1)
    stuck, fresh = _record(trigger, 2)
    change(owner, "UPDATE ledger.outbox SET publishes = 8 WHERE run_id = :id", id=stuck)
    [ninth] = _take(trigger, pace)
    assert (ninth.run_id, _take(trigger, pace)) == (stuck, [])
    change(owner, "UPDATE ledger.outbox SET publish_after = now() WHERE publishes > 0")
    [tenth] = _take(trigger, pace)
    assert (tenth.run_id, tenth.publishes) == (stuck, PACE.stuck_after)
    [other] = _take(trigger, pace)
    assert other.run_id == fresh
    change(owner, "UPDATE ledger.outbox SET publish_after = now() WHERE run_id = :id", id=stuck)
    [eleventh] = _take(trigger, pace)
    assert eleventh.run_id == stuck


def test_an_event_is_published_until_the_journal_holds_it_and_not_longer(engine):
    trigger, status, owner = engine("trigger"), engine("status"), engine(None)
    _record(trigger, 2)
    first, second = _take(trigger)
    assert _confirm(trigger).event_ids == []
    _journal(status, first.document)
    assert _confirm(trigger).event_ids == [first.event_id]
    assert _confirm(trigger).event_ids == []
    make_due(owner)
    assert [event.event_id for event in _take(trigger)] == [second.event_id]
    left = _backlog(trigger)
    assert (left.pending, left.stuck, left.oldest.utcoffset()) == (1, 0, timedelta(0))


@pytest.mark.parametrize(
    "forge",
    [
        lambda document: {**document, "data": {**document["data"], "user_id": "mallory"}},
        lambda document: {**document, "type": "run.cancelled"},
        lambda document: {**document, "source": "/elsewhere"},
        lambda document: {**document, "subject": "00000000-0000-4000-8000-000000000000"},
    ],
    ids=["data", "type", "source", "subject"],
)
def test_a_forged_entry_under_its_id_never_confirms_an_event_and_is_told(engine, forge):
    trigger = engine("trigger")
    record(trigger)
    [event] = _take(trigger)
    _journal(engine("status"), forge(event.document))
    found = _confirm(trigger)
    assert (found.event_ids, found.conflicting) == ([], {event.event_id: event.run_id})
    make_due(engine(None))
    assert [again.event_id for again in _take(trigger)] == [event.event_id]


def test_forged_entries_keep_no_honest_one_from_being_confirmed(engine):
    trigger, status, owner = engine("trigger"), engine("status"), engine(None)
    _record(trigger, 5, "forged")
    for event in _take(trigger):
        _journal(status, event.document, digest="0" * 64)
    make_due(owner)
    _take(trigger)  # again, as nothing confirms them
    record(trigger, "honest")
    [honest] = _take(trigger)
    _journal(status, honest.document)
    with transaction(trigger) as session:
        assert confirm_events(session, limit=2).event_ids == [honest.event_id]


def test_an_event_that_was_never_published_is_not_looked_for_in_the_journal(engine):
    record(engine("trigger"))
    assert _confirm(engine("trigger")).event_ids == []
    assert isinstance(rows_of(engine(None), "SELECT event_id FROM ledger.outbox")[0].event_id, UUID)
