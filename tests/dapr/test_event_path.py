"""The Dapr pub/sub contract that status rests on, on a real daprd and a real broker, with the files of components/."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import valkey
from dapr.conf import settings
from sqlalchemy import Engine, make_url

from oncetune.contracts.envelope import CONTENT_TYPE, content_hash
from oncetune.contracts.topics import DEAD_LETTER, PUBSUB, ROUTE, RUN_LIFECYCLE, RUN_REQUESTED
from oncetune.dapr import TOKEN_HEADER, NotPublished
from tests.dapr.event_path import EventPath
from tests.deadline import eventually
from tests.status.given import delivery_counts, journalled, progress_event, requested_event, rows

DEADLINE = timedelta(seconds=5)


@pytest.fixture
def broker(event_path: EventPath) -> Iterator[valkey.Valkey]:
    with valkey.Valkey(port=event_path.broker.port, password=event_path.broker.password) as client:
        yield client


def kept(audit: Engine, event_id: str) -> Any:
    found = rows(audit, "SELECT event, hash, run_id FROM audit.journal WHERE event_id = :id", id=event_id)
    return found and found[0]


def dead_letters(audit: Engine, topic: str) -> list[bytes]:
    return [
        bytes(body) for (body,) in rows(audit, "SELECT body FROM audit.dead_letter WHERE topic = :topic", topic=topic)
    ]


@pytest.mark.parametrize(("topic", "make"), [(RUN_REQUESTED, requested_event), (RUN_LIFECYCLE, progress_event)])
def test_what_makes_an_event_itself_survives_sidecar_and_broker(publish, audit, topic, make):
    event = make()
    event["data"] |= {"whole": 1.0, "tiny": 1e-12, "large": 2**53, "word": "ü 漢 <&> \u2028"}
    publish(topic, event, DEADLINE)
    arrived, hashed, run_id = eventually(lambda: kept(audit, event["id"]))
    for name in ("id", "source", "type", "subject", "dataschemaversion", "origintraceparent", "time", "data"):
        assert arrived[name] == event[name], name
    assert content_hash(arrived) == hashed == content_hash(event)
    assert run_id == UUID(event["subject"])


def test_an_event_published_again_is_counted_and_logged_as_a_duplicate(publish, audit, event_path):
    event = progress_event()
    for _ in range(3):
        publish(RUN_LIFECYCLE, event, DEADLINE)
    eventually(lambda: delivery_counts(audit, event["id"]) == {"duplicate": 2})
    assert sorted(line["outcome"] for line in event_path.lines(event["id"])) == ["duplicate", "duplicate", "ok"]


@pytest.mark.parametrize("topic", [RUN_REQUESTED, RUN_LIFECYCLE])
def test_a_bad_event_goes_to_the_dead_letters_and_its_neighbours_are_journalled(publish, audit, topic):
    good = [progress_event(position=n) for n in range(1, 21)]
    bad = progress_event(mark=str(uuid4())) | {"subject": "nobody"}
    for event in [*good[:10], bad, *good[10:]]:
        publish(topic, event, DEADLINE)
    eventually(lambda: {event["id"] for event in good} <= journalled(audit))
    eventually(lambda: delivery_counts(audit, bad["id"]) == {"invalid": 1, "dead_letter": 1})
    assert sum(bad["data"]["mark"].encode() in body for body in dead_letters(audit, topic)) == 1
    assert bad["id"] not in journalled(audit)


@pytest.mark.parametrize("topic", [RUN_REQUESTED, RUN_LIFECYCLE])
def test_bytes_that_no_sidecar_can_parse_are_kept_as_dead_letters(audit, broker, topic):
    garbage = b"\x00\xff no event " + uuid4().bytes
    broker.xadd(topic, {"data": garbage})
    eventually(lambda: garbage in dead_letters(audit, topic))


def test_an_event_waits_while_the_database_is_away_and_is_journalled_once_it_is_back(
    publish, audit, event_path, journal_url, administer
):
    name, event, bad = make_url(journal_url).database, progress_event(), progress_event() | {"subject": "nobody"}
    administer(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    try:
        administer(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        publish(RUN_LIFECYCLE, event, DEADLINE)
        publish(RUN_LIFECYCLE, bad, DEADLINE)
        eventually(lambda: len(event_path.lines(event["id"])) >= 2)
    finally:
        administer(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    eventually(lambda: event["id"] in journalled(audit))
    *waits, last = (line["outcome"] for line in event_path.lines(event["id"]))
    assert set(waits) == {"retry"} and last == "ok"


def test_the_application_answers_only_its_sidecar(event_path):
    for method, path in (("GET", "/dapr/subscribe"), *(("POST", route) for route in ROUTE.values())):
        assert httpx.request(method, event_path.app_url + path, content=b"{}").status_code == 401
    assert httpx.get(event_path.app_url + "/live").status_code == 200


def test_a_sidecar_publishes_only_for_its_application(event_path, publish, monkeypatch):
    event = progress_event()
    path = f"publish/{PUBSUB}/{RUN_LIFECYCLE}"
    answer = event_path.sidecar(event_path.publisher, "POST", path, json=event, headers={TOKEN_HEADER: "wrong"})
    assert answer.status_code == 401
    monkeypatch.setattr(settings, "DAPR_API_TOKEN", "wrong")
    with pytest.raises(NotPublished, match="UNAUTHENTICATED"):
        publish(RUN_LIFECYCLE, event, DEADLINE)


@pytest.mark.parametrize("topic", [*DEAD_LETTER.values(), "another.topic"])
def test_trigger_may_publish_to_no_topic_but_its_own(event_path, publish, topic):
    with pytest.raises(NotPublished, match="PERMISSION_DENIED"):
        publish(topic, progress_event(), DEADLINE)


def test_status_may_publish_nothing_but_its_dead_letters(event_path):
    for topic in (RUN_REQUESTED, RUN_LIFECYCLE):
        answer = event_path.sidecar(
            event_path.subscriber,
            "POST",
            f"publish/{PUBSUB}/{topic}",
            json=progress_event(),
            headers={"content-type": CONTENT_TYPE},
        )
        assert answer.status_code == 403
