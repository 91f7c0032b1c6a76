import base64
import json
import logging
from collections import Counter
from uuid import UUID

import httpx
import pytest
from sqlalchemy import make_url

from oncetune.contracts.topics import DEAD_LETTER, DEAD_LETTER_ROUTE, ROUTE, RUN_LIFECYCLE, RUN_REQUESTED
from oncetune.dapr import MAX_DELIVERY_BYTES
from oncetune.status.journal import NO_EVENT
from tests.serving import serving
from tests.status.given import FROM_SIDECAR, bulk, delivery_counts, journalled, progress_event, requested_event, rows

NOBODY = str(NO_EVENT)


@pytest.fixture
def status(monkeypatch, database_url):
    with serving(monkeypatch, "status", database_url=database_url) as client:
        client.headers.update(FROM_SIDECAR)
        yield client


@pytest.fixture
def outcomes(caplog):
    """How many log lines told each (event id, outcome)."""
    caplog.set_level(logging.INFO)

    def count() -> Counter:
        lines = [record.msg for record in caplog.records if isinstance(record.msg, dict) and "outcome" in record.msg]
        return Counter((line.get("event_id"), str(line["outcome"])) for line in lines)

    return count


def deliver(status: httpx.Client, topic: str, body: bytes) -> dict:
    answer = status.post(ROUTE[topic], content=body, headers={"content-type": "application/cloudevents+json"})
    assert answer.status_code == 200
    return answer.json()


def deliver_bulk(status: httpx.Client, *events: object) -> list[str]:
    statuses = deliver(status, RUN_LIFECYCLE, bulk(*events))["statuses"]
    assert [one["entryId"] for one in statuses] == [str(n) for n in range(len(events))]
    return [one["status"] for one in statuses]


def test_a_sidecar_learns_the_single_subscription_and_both_dead_letter_topics(status):
    told = {one["topic"]: (one["route"], one.get("deadLetterTopic")) for one in status.get("/dapr/subscribe").json()}
    assert told == {
        RUN_REQUESTED: (ROUTE[RUN_REQUESTED], DEAD_LETTER[RUN_REQUESTED]),
        DEAD_LETTER[RUN_REQUESTED]: (DEAD_LETTER_ROUTE[RUN_REQUESTED], None),
        DEAD_LETTER[RUN_LIFECYCLE]: (DEAD_LETTER_ROUTE[RUN_LIFECYCLE], None),
    }


def test_an_event_is_journalled_once_and_its_repeats_are_counted(status, engine, outcomes):
    event = requested_event()
    for _ in range(3):
        assert deliver(status, RUN_REQUESTED, json.dumps(event).encode()) == {"status": "SUCCESS"}
    assert journalled(engine(None)) == {event["id"]}
    assert delivery_counts(engine(None), event["id"]) == {"duplicate": 2}
    assert rows(engine(None), "SELECT run_id FROM audit.delivery") == [(UUID(event["subject"]),)]
    assert outcomes() == {(event["id"], "ok"): 1, (event["id"], "duplicate"): 2}


def test_a_bad_entry_of_a_bulk_is_dropped_and_its_neighbours_are_journalled(status, engine, outcomes):
    first, last = progress_event(), progress_event()
    bad = progress_event() | {"subject": "nobody"}
    assert deliver_bulk(status, first, bad, "AAEC", last, first) == ["SUCCESS", "DROP", "DROP", "SUCCESS", "SUCCESS"]
    assert journalled(engine(None)) == {first["id"], last["id"]}
    assert delivery_counts(engine(None), bad["id"]) == {"invalid": 1}
    assert delivery_counts(engine(None), UUID(int=0)) == {"invalid": 1}
    assert sum(outcomes().values()) == 5
    assert outcomes()[first["id"], "duplicate"] == outcomes()[bad["id"], "invalid"] == 1


def test_other_content_under_a_known_id_raises_an_alarm_in_the_log(status, engine, outcomes, caplog):
    event = progress_event()
    forged = event | {"data": event["data"] | {"loss": 0.0}}
    assert deliver_bulk(status, event, forged) == ["SUCCESS", "SUCCESS"]
    assert outcomes() == {(event["id"], "ok"): 1, (event["id"], "conflict"): 1}
    assert [record.msg["event"] for record in caplog.records if record.levelno == logging.ERROR] == ["event.conflict"]
    assert delivery_counts(engine(None), event["id"]) == {"conflict": 1}


def test_a_body_that_cannot_be_read_ends_instead_of_looping_and_has_its_line(status, engine, outcomes):
    for body in (b"", b"no json", b"x" * (MAX_DELIVERY_BYTES + 1)):
        for topic in DEAD_LETTER:
            assert deliver(status, topic, body) == {"status": "DROP"}
            answer = status.post(DEAD_LETTER_ROUTE[topic], content=body)
            assert (answer.status_code, answer.json()) == (200, {"status": "SUCCESS"})
    assert journalled(engine(None)) == set()
    assert outcomes() == {(NOBODY, "invalid"): 6, (NOBODY, "dead_letter"): 6}


def test_a_lifecycle_event_may_come_alone(status, engine, outcomes):
    event = progress_event()

    assert deliver(status, RUN_LIFECYCLE, json.dumps(event).encode()) == {"status": "SUCCESS"}

    assert journalled(engine(None)) == {event["id"]}
    assert outcomes() == {(event["id"], "ok"): 1}


def test_a_dead_letter_is_kept_byte_for_byte_once_under_the_topic_it_failed_on(status, engine, outcomes):
    garbage, event = b"\x00\xffnot json", progress_event()
    for body in (garbage, garbage, json.dumps(event).encode()):
        assert status.post(DEAD_LETTER_ROUTE[RUN_LIFECYCLE], content=body).json() == {"status": "SUCCESS"}
    kept = rows(engine(None), "SELECT topic, body, reason FROM audit.dead_letter ORDER BY received_at")
    assert [(topic, bytes(body)) for topic, body, _ in kept] == [
        (RUN_LIFECYCLE, garbage),
        (RUN_LIFECYCLE, json.dumps(event).encode()),
    ]
    assert kept[0][2].startswith("not UTF-8")
    assert delivery_counts(engine(None), event["id"]) == {"dead_letter": 1}
    assert outcomes()[event["id"], "dead_letter"] == 1


def test_a_large_dead_letter_is_kept_whole_although_its_wrapping_is_larger_still(status, engine):
    raw = b"\x00" * (MAX_DELIVERY_BYTES - 1)
    body = json.dumps({"data_base64": base64.b64encode(raw).decode()}).encode()
    assert len(body) > MAX_DELIVERY_BYTES
    status.post(DEAD_LETTER_ROUTE[RUN_LIFECYCLE], content=body).raise_for_status()
    assert [bytes(kept) for (kept,) in rows(engine(None), "SELECT body FROM audit.dead_letter")] == [raw]


def test_what_no_sidecar_would_send_is_kept_cut(status, engine):
    status.post(DEAD_LETTER_ROUTE[RUN_LIFECYCLE], content=b"x" * (3 * MAX_DELIVERY_BYTES)).raise_for_status()
    [(size,)] = rows(engine(None), "SELECT octet_length(body) FROM audit.dead_letter")
    assert 2 * MAX_DELIVERY_BYTES < size < 3 * MAX_DELIVERY_BYTES


def test_an_absent_database_is_a_retry_for_each_entry_that_could_be_read(
    status, engine, database_url, administer, outcomes, caplog
):
    event, bad = progress_event(), progress_event() | {"source": 7}
    name = make_url(database_url).database
    administer(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    administer(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    assert deliver_bulk(status, event, bad) == ["RETRY", "DROP"]
    assert deliver(status, RUN_REQUESTED, json.dumps(event).encode()) == {"status": "RETRY"}
    assert status.post(DEAD_LETTER_ROUTE[RUN_LIFECYCLE], content=b"x").json() == {"status": "RETRY"}
    assert outcomes() == {(event["id"], "retry"): 2, (bad["id"], "invalid"): 1, (NOBODY, "retry"): 1}
    reasons = [line.msg.get("reason") for line in caplog.records if line.msg["event"] == "event.retry"]
    assert reasons == ["OperationalError"] * 2
    administer(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert deliver_bulk(status, event) == ["SUCCESS"]
    assert journalled(engine(None)) == {event["id"]}


def test_nobody_but_the_sidecar_may_deliver(status, engine):
    body = json.dumps(requested_event())
    for path in (*ROUTE.values(), *DEAD_LETTER_ROUTE.values()):
        for token in ("", "wrong"):
            assert status.post(path, content=body, headers={"dapr-api-token": token}).status_code == 401
    assert rows(engine(None), "SELECT FROM audit.journal UNION ALL SELECT FROM audit.dead_letter") == []
