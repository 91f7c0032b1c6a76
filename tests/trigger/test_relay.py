"""The relay: every event again until the journal has it, and none that waits for another."""

import threading
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import pytest

from oncetune.dapr import NotPublished
from oncetune.ledger.outbox import Pace
from oncetune.trigger.relay import confirm_once, relay, relay_once
from tests.deadline import eventually
from tests.ledger.given import change, record, rows_of
from tests.loglines import captured_lines
from tests.outage import database_away

AT_ONCE = Pace(
    deadline=timedelta(milliseconds=20), backoff=timedelta(milliseconds=20), max_backoff=timedelta(seconds=1)
)
NEVER = threading.Event()


class Published(list):
    """A publish that remembers, and refuses what `refuse` says."""

    def __init__(self, refuse=lambda _document: False):
        super().__init__()
        self._refuse = refuse

    def __call__(self, topic, document, deadline):
        self.append((topic, document, deadline))
        if self._refuse(document):
            raise NotPublished("refused")

    @property
    def ids(self):
        return [document["id"] for _, document, _ in self]


@contextmanager
def _relaying(engine, publish, every=0.02):
    stop, wake = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=relay, args=(engine, publish, AT_ONCE), kwargs={"wake": wake, "stop": stop, "every": every}
    )
    thread.start()
    try:
        yield wake
    finally:
        stop.set()
        wake.set()
        thread.join(10)
        assert not thread.is_alive()


def _due_now(owner):
    change(owner, "UPDATE ledger.outbox SET publish_after = now()")


def _journalled(owner):
    """The journal receives everything that was published so far, as status would write it."""
    from oncetune.contracts.envelope import open_envelope
    from oncetune.postgres import transaction
    from oncetune.status.journal import append_events

    def write(published):
        with transaction(owner) as session:
            append_events(session, [open_envelope(document) for _, document, _ in published])

    return write


def test_an_event_goes_out_whole_to_the_topic_of_its_type_with_the_deadline(engine):
    run_id = record(engine("trigger")).run_id
    published = Published()
    assert relay_once(engine("trigger"), published, Pace(), stop=NEVER) == 1
    [(topic, document, deadline)] = published
    assert (topic, deadline) == ("run.requested", Pace().deadline)
    assert (document["specversion"], document["type"], document["subject"]) == ("1.0", "run.requested", str(run_id))
    assert document["data"]["position"] == 1
    assert relay_once(engine("trigger"), published, Pace(), stop=NEVER) == 0, "its next try is booked"


def test_a_refused_event_holds_up_no_other_and_is_tried_again(engine):
    trigger, owner = engine("trigger"), engine(None)
    ids = [str(record(trigger, f"kb{number}").run_id) for number in range(5)]
    published = Published(refuse=lambda document: document["subject"] == ids[0])
    with captured_lines() as lines:
        relay_once(trigger, published, AT_ONCE, stop=NEVER)
    assert {document["subject"] for _, document, _ in published} == set(ids)
    [line] = lines.events("event.not_published")
    assert (line["run_id"], line["outcome"], line["publishes"]) == (ids[0], "retry", 1)
    assert len(lines.events("event.published")) == 4
    _due_now(owner)
    relay_once(trigger, published, AT_ONCE, stop=NEVER)
    assert len(published) == 10


def test_a_crash_between_take_and_publish_repeats_the_event_under_its_id(engine):
    trigger, owner = engine("trigger"), engine(None)
    record(trigger)

    def dies(topic, document, deadline):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        relay_once(trigger, dies, AT_ONCE, stop=NEVER)
    published = Published()
    _due_now(owner)
    relay_once(trigger, published, AT_ONCE, stop=NEVER)
    assert published.ids == [str(rows_of(owner, "SELECT event_id FROM ledger.outbox")[0].event_id)]


def test_no_lock_is_held_while_an_event_is_published(engine):
    trigger, owner = engine("trigger"), engine(None)
    record(trigger)

    def publish(topic, document, deadline):
        change(owner, "SET LOCAL lock_timeout = '100ms'; ALTER TABLE ledger.outbox ADD COLUMN later integer")

    assert relay_once(trigger, publish, AT_ONCE, stop=NEVER) == 1


def test_without_a_journal_an_event_comes_again_and_again_ever_more_slowly(engine):
    trigger, owner = engine("trigger"), engine(None)
    record(trigger)
    waits = []
    for _ in range(6):
        _due_now(owner)
        relay_once(trigger, Published(), Pace(), stop=NEVER)
        sql = "SELECT extract(epoch FROM publish_after - clock_timestamp()) AS wait FROM ledger.outbox"
        waits.append(float(rows_of(owner, sql)[0].wait))
    deadline = Pace().deadline.total_seconds()
    for publishes, wait in enumerate(waits):
        doubled = min(2.0**publishes, Pace().max_backoff.total_seconds())
        assert deadline + 0.5 * doubled - 0.5 <= wait <= deadline + 1.5 * doubled


def test_an_event_ends_when_the_journal_holds_it_and_only_then(engine):
    trigger, owner = engine("trigger"), engine(None)
    record(trigger)
    published = Published()
    relay_once(trigger, published, AT_ONCE, stop=NEVER)
    assert confirm_once(trigger, set(), limit=9) == 0
    _journalled(owner)(published)
    assert confirm_once(trigger, set(), limit=9) == 1
    _due_now(owner)
    assert relay_once(trigger, published, AT_ONCE, stop=NEVER) == 0


def test_a_forged_event_under_the_same_id_confirms_nothing_and_alarms_once(engine):
    trigger, owner = engine("trigger"), engine(None)
    run_id = record(trigger).run_id
    published = Published()
    relay_once(trigger, published, AT_ONCE, stop=NEVER)
    _journalled(owner)([(topic, document | {"source": "/forged"}, deadline) for topic, document, deadline in published])
    alarmed = set()
    with captured_lines() as lines:
        assert [confirm_once(trigger, alarmed, limit=9) for _ in range(3)] == [0, 0, 0]
    [alarm] = lines.events("event.conflict")
    assert (alarm["level"], alarm["event_id"], alarm["run_id"]) == ("error", published.ids[0], str(run_id))


def test_an_event_that_needs_too_many_publishes_is_told_as_an_error_and_counted_as_stuck(engine):
    from oncetune.ledger.outbox import backlog
    from oncetune.postgres import transaction

    trigger, owner = engine("trigger"), engine(None)
    record(trigger)
    change(owner, "UPDATE ledger.outbox SET publishes = 9")
    with captured_lines() as lines:
        relay_once(trigger, Published(refuse=lambda _document: True), AT_ONCE, stop=NEVER)
    assert [line["level"] for line in lines.events("event.not_published")] == ["error"]
    with transaction(trigger) as session:
        assert backlog(session, AT_ONCE).stuck == 1


def test_the_loop_survives_a_database_that_is_away_and_a_publish_that_breaks(engine, administer, database_url):
    trigger = engine("trigger")
    broken = threading.Event()

    def breaks(document):
        if not broken.is_set():
            broken.set()
            raise RuntimeError("a bug")
        return False

    published = Published(refuse=breaks)
    record(trigger, "first")
    with captured_lines() as lines, _relaying(trigger, published):
        eventually(lambda: len(published) >= 2)
        with database_away(administer, database_url):
            eventually(lambda: lines.events("relay.waits"))
        record(engine("trigger"), "second")
        eventually(lambda: len(set(published.ids)) == 2)
    assert len(lines.events("relay.broken")) == 1


def test_the_loop_does_not_wait_for_its_next_round_when_it_is_woken(engine):
    trigger, published = engine("trigger"), Published()
    with _relaying(trigger, published, every=3600) as wake:
        record(engine("trigger"))
        wake.set()
        eventually(lambda: len(published) == 1)


def test_a_relay_that_is_told_to_stop_leaves_the_rest_of_its_batch_for_later(engine):
    trigger = engine("trigger")
    for number in range(20):
        record(trigger, f"kb{number}")
    stop = threading.Event()
    published = Published(refuse=lambda _document: stop.set())
    assert relay_once(trigger, published, AT_ONCE, stop=stop) == 20
    assert len(published) == 1
    published.clear()
    _due_now(engine(None))
    assert relay_once(trigger, published, AT_ONCE, stop=NEVER) == 20
    assert len(published) == 20


def test_three_relays_at_once_lose_nothing(engine):
    owner, published = engine(None), Published()
    for number in range(60):
        record(engine("trigger"), f"kb{number}")
    with ExitStack() as relays:
        for _ in range(3):
            relays.enter_context(_relaying(engine("trigger"), published))
        eventually(lambda: len(set(published.ids)) == 60)
        _journalled(owner)(list({document["id"]: (0, document, 0) for _, document, _ in list(published)}.values()))
        eventually(lambda: rows_of(owner, "SELECT FROM ledger.outbox WHERE confirmed_at IS NULL") == [])
