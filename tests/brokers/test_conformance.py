"""What each broker promises, as the table of components/README.md says: on the real broker and the real daprd."""

from oncetune.contracts.topics import RUN_LIFECYCLE, RUN_REQUESTED
from oncetune.dapr import Reply
from tests.brokers.way import Way
from tests.deadline import eventually
from tests.status.given import delivery_counts, progress_event, requested_event, rows


def test_an_event_arrives_as_it_was_sent(way: Way):
    for topic, event in ((RUN_LIFECYCLE, progress_event()), (RUN_REQUESTED, requested_event())):
        event["data"] |= {"whole": 1.0, "tiny": 1e-12, "large": 2**53, "word": "ü 漢 <&> \u2028"}
        way.publish(event, topic)
        way.arrives(event)
        ((arrived,),) = rows(way.owner, "SELECT event FROM audit.journal WHERE event_id = :id", id=event["id"])
        for name in ("id", "source", "type", "subject", "dataschemaversion", "origintraceparent", "time", "data"):
            assert arrived[name] == event[name], name


def test_what_was_answered_with_retry_comes_again_until_it_succeeds(way: Way):
    for topic, event in ((RUN_LIFECYCLE, progress_event()), (RUN_REQUESTED, requested_event())):
        way.watch.answer(event["id"], [Reply.RETRY] * 2)
        way.publish(event, topic)
        way.arrives(event)
        assert (way.watch.delivered[event["id"]], way.watch.dead[event["id"]]) == (3, 0)


def test_what_is_dropped_goes_to_the_dead_letters_once(way: Way):
    for topic, event in ((RUN_LIFECYCLE, progress_event()), (RUN_REQUESTED, requested_event())):
        bad = event | {"subject": "nobody"}
        way.publish(bad, topic)
        eventually(lambda bad=bad: delivery_counts(way.owner, bad["id"]) == {"invalid": 1, "dead_letter": 1})
        assert (way.watch.delivered[bad["id"]], way.watch.dead[bad["id"]]) == (1, 1)
