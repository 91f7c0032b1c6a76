"""What each broker promises, as the table of components/README.md says: on the real broker and the real daprd.

A promise that is `kept` is kept by the broker alone. Where it is `healed by the relay`, an event that was published
once has not come, and one that stands in the outbox is journalled all the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

from oncetune.contracts.topics import RUN_LIFECYCLE, RUN_REQUESTED
from oncetune.dapr import Reply
from tests.brokers.table import HEALED, KEPT, RESTARTED, cell
from tests.brokers.way import Way
from tests.deadline import eventually
from tests.status.given import delivery_counts, journalled, progress_event, requested_event, rows

TOPICS = pytest.mark.parametrize(
    ("topic", "make"),
    [(RUN_REQUESTED, requested_event), (RUN_LIFECYCLE, progress_event)],
    ids=["requested", "lifecycle"],
)


@contextmanager
def at_risk(way: Way, promise: str, *, in_delivery: bool = False) -> Iterator[None]:
    """An event is under way while a part of the way is taken away inside; then what the table says is seen to be true.

    With `in_delivery` the application has the event in hand inside, and answers nothing.
    """
    once, healed = progress_event(), cell(promise, way.broker.name) == HEALED
    events = {once["id"], *([way.request()] if healed else [])}
    with way.relaying() if healed else nullcontext():
        way.watch.held |= events if in_delivery else set()
        way.publish(once)
        eventually(lambda: not in_delivery or all(way.watch.delivered[one] for one in events), seconds=20)
        yield
        if healed:
            eventually(lambda: way.pending() == 0, seconds=45, every=0.1)
            assert not way.journalled(once), "the broker keeps this promise: say so in components/README.md"
        else:
            way.arrives(once, seconds=45)


@TOPICS
def test_an_event_arrives_as_it_was_sent(way: Way, topic, make):
    assert cell("an event arrives as it was sent", way.broker.name) == KEPT
    event = make()
    event["data"] |= {"whole": 1.0, "tiny": 1e-12, "large": 2**53, "word": "ü 漢 <&> \u2028"}
    way.publish(event, topic)
    way.arrives(event)
    ((arrived,),) = rows(way.owner, "SELECT event FROM audit.journal WHERE event_id = :id", id=event["id"])
    for name in ("id", "source", "type", "subject", "dataschemaversion", "origintraceparent", "time", "data"):
        assert arrived[name] == event[name], name


def test_an_event_of_half_a_mebibyte_arrives(way: Way):
    assert cell("an event of half a mebibyte arrives", way.broker.name) == KEPT
    event = progress_event(words="x" * 512 * 1024)
    way.publish(event)
    way.arrives(event)


def test_an_event_that_is_published_again_arrives_again(way: Way):
    assert cell("what is published again arrives again", way.broker.name) == KEPT
    event = progress_event()
    way.publish(event)
    way.arrives(event)
    eventually(lambda: way.publish(event) or delivery_counts(way.owner, event["id"]), every=0.3)


@TOPICS
def test_what_was_answered_with_retry_comes_again_until_it_succeeds(way: Way, topic, make):
    assert cell("what was answered with RETRY comes again", way.broker.name) == KEPT
    event = make()
    way.watch.answer(event["id"], [Reply.RETRY] * 2)
    way.publish(event, topic)
    way.arrives(event)
    assert (way.watch.delivered[event["id"]], way.watch.dead[event["id"]]) == (3, 0)


@TOPICS
def test_what_is_dropped_goes_to_the_dead_letters_once(way: Way, topic, make):
    assert cell("what was answered with DROP goes to the dead letters, once", way.broker.name) == KEPT
    bad = make() | {"subject": "nobody"}
    way.publish(bad, topic)
    eventually(lambda: delivery_counts(way.owner, bad["id"]) == {"invalid": 1, "dead_letter": 1})
    assert (way.watch.delivered[bad["id"]], way.watch.dead[bad["id"]]) == (1, 1)


def test_what_fails_for_good_is_tried_nine_times_and_goes_to_the_dead_letters(way: Way):
    assert cell("what fails for good goes to the dead letters", way.broker.name) == KEPT
    event, neighbour = progress_event(), progress_event()
    way.watch.answer(event["id"], [Reply.RETRY] * 100)
    way.publish(event)
    way.publish(neighbour)
    way.arrives(neighbour)
    eventually(lambda: way.watch.dead[event["id"]] == 1, seconds=30, every=0.1)
    assert way.watch.delivered[event["id"]] == 9
    assert not way.journalled(event)


def test_of_many_at_once_only_what_failed_comes_again_and_no_neighbour_is_lost(way: Way):
    assert cell("of many at once only what failed comes again", way.broker.name) == KEPT
    events = [progress_event(position=number) for number in range(1, 41)]
    again, dropped = events[7], events[13]
    way.watch.answer(again["id"], [Reply.RETRY] * 2)
    way.watch.answer(dropped["id"], [Reply.DROP])
    for event in events:
        way.publish(event)
    eventually(lambda: {event["id"] for event in events if event is not dropped} <= journalled(way.owner), seconds=20)
    eventually(lambda: way.watch.dead[dropped["id"]] == 1)
    assert {one: number for one, number in way.watch.delivered.items() if number > 1 and one in ids(events)} == {
        again["id"]: 3
    }


def ids(events: list[dict[str, Any]]) -> set[str]:
    return {event["id"] for event in events}


def test_what_is_published_while_the_application_is_away_waits_for_it(way: Way):
    with way.without_app(), at_risk(way, "published while the application was away"):
        way.start_app()


def test_what_is_in_delivery_when_the_application_dies_comes_when_it_is_back(way: Way):
    with at_risk(way, "in delivery when the application died", in_delivery=True), way.without_app():
        way.start_app()


def test_a_delivery_that_its_sidecar_did_not_survive_comes_again(way: Way):
    with at_risk(way, "in delivery when the sidecar was killed", in_delivery=True):
        way.kill_sidecar()
        way.start_sidecar()


def test_what_nobody_has_read_survives_a_broker_that_is_killed(way: Way):
    with way.without_app(), at_risk(way, "not yet read when the broker was killed"):
        way.broker.kill()
        way.broker.start()
        way.start_app()


def test_a_publisher_hears_that_the_broker_is_away_and_deliveries_go_on_when_it_is_back(way: Way):
    assert cell("a publisher hears that the broker is away", way.broker.name) == KEPT
    event = progress_event()
    with way.relaying():
        way.broker.kill()
        eventually(lambda: not way.publishes(event), seconds=20)
        assert not way.publishes(event)
        way.request()
        way.broker.start()
        way.publish_in_the_end(event)
        if cell("deliveries go on when the broker is back", way.broker.name) == RESTARTED:
            way.kill_sidecar()
            way.start_sidecar()
        eventually(lambda: way.pending() == 0, seconds=60, every=0.1)


def test_what_a_broker_loses_with_its_data_is_published_again(way: Way):
    with way.without_app(), at_risk(way, "on its way when the broker lost its data"):
        way.broker.kill()
        way.broker.wipe()
        way.broker.start()
        way.start_app()


def test_what_is_published_before_anybody_subscribed_is_not_missed(way: Way):
    with way.without_app():
        way.broker.kill()
        way.broker.wipe()
        way.broker.start()
        way.publish_in_the_end(progress_event())
        with at_risk(way, "published before anybody subscribed"):
            way.start_app()
