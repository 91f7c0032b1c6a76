"""What each broker promises, as the table of components/README.md says: on the real broker and the real daprd.

The fixture `word` is what the table says of the test's promise. A promise that is `kept` is kept by the broker alone,
with no relay at work. Where it is `kept, late`, the relay is sooner than the broker. Where it is `healed by the relay`,
an event that stands in the outbox is journalled, whatever became of one that was published once.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

from oncetune.contracts.topics import RUN_LIFECYCLE, RUN_REQUESTED
from oncetune.dapr import Reply
from tests.brokers.table import HEALED, KEPT, LATE, cell
from tests.brokers.way import Way
from tests.deadline import eventually
from tests.status.given import delivery_counts, journalled, progress_event, requested_event, rows

promise = pytest.mark.promise
TOPICS = pytest.mark.parametrize(
    ("topic", "make"),
    [(RUN_REQUESTED, requested_event), (RUN_LIFECYCLE, progress_event)],
    ids=["requested", "lifecycle"],
)


@contextmanager
def at_risk(way: Way, word: str, *, in_delivery: bool = False) -> Iterator[None]:
    """An event is under way while a part of the way is taken away inside; then what the table says is seen to be true.

    With `in_delivery` the application has the event in hand inside, and answers nothing.
    """
    once, relayed = progress_event(), {way.request()} if word != KEPT else set()
    events = {once["id"], *relayed}
    with way.relaying() if relayed else nullcontext():
        way.watch.held |= events if in_delivery else set()
        way.publish(once)
        eventually(lambda: not in_delivery or all(way.watch.delivered[one] for one in events), seconds=20)
        yield
        if relayed:
            eventually(lambda: way.pending() == 0, seconds=45, every=0.1)
    if word == HEALED:
        assert not way.journalled(once), "the broker keeps this promise: say so in components/README.md"
    else:
        way.arrives(once, seconds=45)


@promise("an event arrives as it was sent")
@TOPICS
def test_an_event_arrives_as_it_was_sent(way: Way, topic, make):
    event = make()
    event["data"] |= {"whole": 1.0, "tiny": 1e-12, "large": 2**53, "word": "ü 漢 <&> \u2028"}
    way.publish(event, topic)
    way.arrives(event)
    ((arrived,),) = rows(way.owner, "SELECT event FROM audit.journal WHERE event_id = :id", id=event["id"])
    for name in ("id", "source", "type", "subject", "dataschemaversion", "origintraceparent", "time", "data"):
        assert arrived[name] == event[name], name


@promise("an event of half a mebibyte arrives")
def test_an_event_of_half_a_mebibyte_arrives(way: Way):
    event = progress_event(words="x" * 512 * 1024)
    way.publish(event)
    way.arrives(event)


@promise("what is published again arrives again")
def test_an_event_that_is_published_again_arrives_again(way: Way):
    event = progress_event()
    way.publish(event)
    way.arrives(event)
    eventually(lambda: way.publish(event) or delivery_counts(way.owner, event["id"]), every=0.3)


@promise("what was answered with RETRY comes again")
@TOPICS
def test_what_was_answered_with_retry_comes_again_until_it_succeeds(way: Way, topic, make):
    event = make()
    way.watch.answer(event["id"], [Reply.RETRY] * 2)
    way.publish(event, topic)
    way.arrives(event)
    assert (way.watch.delivered[event["id"]], way.watch.dead[event["id"]]) == (3, 0)


@promise("what was answered with DROP goes to the dead letters, once")
@TOPICS
def test_what_is_dropped_goes_to_the_dead_letters_once(way: Way, topic, make):
    bad = make() | {"subject": "nobody"}
    way.publish(bad, topic)
    eventually(lambda: delivery_counts(way.owner, bad["id"]) == {"invalid": 1, "dead_letter": 1})
    assert (way.watch.delivered[bad["id"]], way.watch.dead[bad["id"]]) == (1, 1)


@promise("what fails for good goes to the dead letters")
def test_what_fails_for_good_is_tried_nine_times_and_goes_to_the_dead_letters(way: Way):
    event, neighbour = progress_event(), progress_event()
    way.watch.answer(event["id"], [Reply.RETRY] * 100)
    way.publish(event)
    way.publish(neighbour)
    way.arrives(neighbour)
    eventually(lambda: way.watch.dead[event["id"]] == 1, seconds=30, every=0.1)
    assert way.watch.delivered[event["id"]] == 9
    assert not way.journalled(event)


def forty_of_which_two_fail(way: Way) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """The events, the one of them that comes again twice, and the one that becomes a dead letter."""
    events = [progress_event(position=number) for number in range(1, 41)]
    again, dropped = events[7], events[13]
    way.watch.answer(again["id"], [Reply.RETRY] * 2)
    way.watch.answer(dropped["id"], [Reply.DROP])
    return events, again, dropped


@promise("of many at once only what failed comes again")
def test_of_many_at_once_only_what_failed_comes_again_and_no_neighbour_is_lost(way: Way):
    events, again, dropped = forty_of_which_two_fail(way)
    for event in events:
        way.publish(event)
    only_what_failed_comes_again(way, events, again=again, dropped=dropped)


@promise("of a bulk only what failed comes again")
def test_of_a_bulk_that_failed_in_part_only_what_failed_comes_again(way: Way):
    events, again, dropped = forty_of_which_two_fail(way)
    with way.in_bulk():
        for event in events:
            way.publish(event)
        only_what_failed_comes_again(way, events, again=again, dropped=dropped)
    assert (max(way.watch.bulks) > 1) == (way.broker.name != "jetstream")  # which delivers one by one


def only_what_failed_comes_again(
    way: Way, events: list[dict[str, Any]], *, again: dict[str, Any], dropped: dict[str, Any]
) -> None:
    """All but `dropped` are journalled, `again` the third time that it came, and the others came once."""
    ids = {event["id"] for event in events}
    eventually(lambda: ids - {dropped["id"]} <= journalled(way.owner), seconds=20)
    eventually(lambda: way.watch.dead[dropped["id"]] == 1)
    assert {one: number for one, number in way.watch.delivered.items() if number > 1 and one in ids} == {again["id"]: 3}


@promise("published while the application was away")
def test_what_is_published_while_the_application_is_away_waits_for_it_and_nothing_old_comes_again(way: Way, word: str):
    old = progress_event()
    way.publish(old)
    way.arrives(old)
    with way.without_app(), at_risk(way, word):
        way.start_app()
    assert way.watch.delivered[old["id"]] == 1


@promise("in delivery when the application died", KEPT, LATE)
def test_what_is_in_delivery_when_the_application_dies_comes_when_it_is_back(way: Way, word: str):
    with at_risk(way, word, in_delivery=True), way.without_app():
        way.start_app()
    if way.broker.name == "kafka":  # its sidecar may have lost the subscription by now: components/README.md
        way.stop_sidecar()
        way.start_sidecar()


@promise("in delivery when the sidecar was killed", KEPT, LATE)
def test_a_delivery_that_its_sidecar_did_not_survive_comes_again(way: Way, word: str):
    with at_risk(way, word, in_delivery=True):
        way.kill_sidecar()
        way.start_sidecar()


@promise("not yet read when the broker was killed")
def test_what_nobody_has_read_survives_a_broker_that_is_killed(way: Way, word: str):
    with way.without_app(), at_risk(way, word):
        way.broker.kill()
        way.broker.start()
        way.start_app()


@promise("a publisher hears that the broker is away")
@promise("deliveries go on when the broker is back", KEPT, HEALED)
def test_a_publisher_hears_that_the_broker_is_away_and_deliveries_go_on_when_it_is_back(way: Way, word: str):
    event = progress_event()
    way.broker.kill()
    eventually(lambda: not way.publishes(event), seconds=20)
    assert not way.publishes(event)
    way.broker.start()
    way.publish_in_the_end(event)
    if word == KEPT:
        way.arrives(event, seconds=45)
        return
    way.request()
    with way.relaying():
        eventually(lambda: way.pending() == 0, seconds=60, every=0.1)
    way.kill_sidecar()  # whoever still takes events and delivers none would take the next test's
    way.start_sidecar()


@promise("on its way when the broker lost its data", HEALED)
@promise("published before anybody subscribed", KEPT, HEALED)
def test_what_a_broker_loses_with_its_data_is_published_again_and_what_comes_before_a_subscriber_is_not_missed(
    way: Way, word: str
):
    lost = cell("on its way when the broker lost its data", way.broker.name)
    with way.without_app(), at_risk(way, lost):
        way.broker.kill()
        way.broker.wipe()
        way.broker.start()
        way.publish_in_the_end(progress_event())
        with at_risk(way, word):
            way.start_app()
