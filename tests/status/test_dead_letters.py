"""Dead letters over HTTP: who may look, what is shown, and that one decision is made about each."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from oncetune.contracts.topics import DEAD_LETTER_ROUTE, RUN_LIFECYCLE, RUN_REQUESTED
from oncetune.postgres import statement, transaction
from oncetune.status.intake import store_dead_letter
from tests.deadline import eventually
from tests.ledger.given import change, lock_waits
from tests.loglines import captured_lines
from tests.outage import database_away
from tests.serving import serving, signed
from tests.status.given import FROM_SIDECAR, envelope, journalled, progress_event, rows

SECRET_WORDS = "a sentence of somebody's dataset"


@pytest.fixture
def status(monkeypatch, database_url):
    with serving(monkeypatch, "status", database_url=database_url) as client:
        client.headers.update(signed("ann") | FROM_SIDECAR)
        yield client


def bury(client, body, topic=RUN_LIFECYCLE) -> str:
    """Deliver a dead letter; its path."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert client.post(DEAD_LETTER_ROUTE[topic], content=raw).json() == {"status": "SUCCESS"}
    return f"/dead-letters/{hashlib.sha256(raw).hexdigest()}:{topic}"


def listed(client, query="", **more):
    answer = client.get(f"/dead-letters{query}", **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def decisions(engine):
    return rows(engine(None), "SELECT decision, outcome, decided_by FROM audit.dead_letter_decision")


def test_a_replay_journals_the_event_once_and_answers_the_same_way_again(status, engine):
    event = progress_event()
    path = bury(status, event)
    with captured_lines() as lines:
        first = status.post(f"{path}/replay")
        again = status.post(f"{path}/replay", headers=signed("bob"))
    assert (first.status_code, first.json()) == (200, again.json())
    told = first.json()
    assert (told["decision"], told["outcome"], told["decided_by"]) == ("replayed", "ok", "ann")
    assert journalled(engine(None)) == {event["id"]}
    assert decisions(engine) == [("replayed", "ok", "ann")]
    [line] = lines.events("dead_letter.replayed")
    assert (line["outcome"], line["event_id"], line["run_id"]) == ("ok", event["id"], event["subject"])
    assert line["decided_by"] == "ann"


def test_a_replay_of_what_the_journal_has_is_a_duplicate(status, engine):
    event = progress_event()
    status.post("/events/run-requested", json=event).raise_for_status()
    assert status.post(f"{bury(status, event)}/replay").json()["outcome"] == "duplicate"
    assert len(journalled(engine(None))) == 1


def test_a_replay_of_other_content_under_a_known_id_is_a_conflict_and_an_alarm(status, engine):
    event = progress_event()
    status.post("/events/run-requested", json=event).raise_for_status()
    forged = event | {"data": event["data"] | {"loss": 0.0}}
    with captured_lines() as lines:
        assert status.post(f"{bury(status, forged)}/replay").json()["outcome"] == "conflict"
    assert [line["level"] for line in lines.events("dead_letter.replayed", outcome="conflict")] == ["error"]
    kept = rows(engine(None), "SELECT hash FROM audit.conflict")
    assert kept == [(envelope(forged).content_hash,)]


@pytest.mark.parametrize(
    ("body", "reason"), [(b"\xffnot json", "not UTF-8"), (progress_event() | {"subject": "x"}, "subject is not a UUID")]
)
def test_what_is_no_event_can_only_be_discarded_and_the_refusal_says_so(status, engine, body, reason):
    path = bury(status, body)
    refused = status.post(f"{path}/replay")
    assert (refused.status_code, refused.json()["code"]) == (422, "no_event")
    assert reason in refused.json()["detail"] and "discarded" in refused.json()["detail"]
    assert decisions(engine) == []
    assert status.post(f"{path}/discard").json()["decision"] == "discarded"
    assert status.post(f"{path}/replay").json()["decision"] == "discarded", "what stands is told before what is wrong"
    assert "event" not in status.get(path).json()
    assert journalled(engine(None)) == set()


def test_the_first_decision_stands_and_whoever_asks_for_the_other_is_told_it(status, engine):
    replayed, discarded = (bury(status, progress_event()) for _ in range(2))
    status.post(f"{replayed}/replay").raise_for_status()
    with captured_lines() as lines:
        status.post(f"{discarded}/discard").raise_for_status()
    [line] = lines.events("dead_letter.discarded")
    assert line["run_id"] == status.get(discarded).json()["event"]["run_id"]
    assert status.post(f"{replayed}/discard", headers=signed("bob")).json()["decision"] == "replayed"
    other = status.post(f"{discarded}/replay", headers=signed("bob")).json()
    assert (other["decision"], other["decided_by"], "outcome" in other) == ("discarded", "ann", False)
    assert len(decisions(engine)) == 2
    assert len(journalled(engine(None))) == 1


def test_a_replay_that_a_discard_overtakes_journals_nothing(status, engine):
    path = bury(status, progress_event())
    sha256, topic = path.rpartition("/")[2].split(":")
    discarded = {"topic": topic, "sha256": sha256, "decision": "discarded", "outcome": None, "decided_by": "bob"}
    with ThreadPoolExecutor(1) as thread:
        with transaction(engine("status")) as session:
            session.execute(statement("status", "decide_dead_letter"), discarded)
            replay = thread.submit(status.post, f"{path}/replay")
            eventually(lambda: lock_waits(engine(None)))  # the event is in the journal, not for good
        assert replay.result(20).json()["decision"] == "discarded"
    assert journalled(engine(None)) == set()


def test_replays_and_discards_of_one_letter_at_once_are_one_decision_with_one_answer(status, engine):
    event = progress_event()
    path = bury(status, event)
    with ThreadPoolExecutor(16) as threads:
        verbs = ["replay", "discard"] * 16
        answers = list(threads.map(lambda verb: status.post(f"{path}/{verb}").json(), verbs))
    [(decision, outcome, _)] = decisions(engine)
    assert {(one["decision"], one.get("outcome")) for one in answers} == {(decision, outcome)}
    assert len({one["decided_at"] for one in answers}) == 1
    assert journalled(engine(None)) == ({event["id"]} if decision == "replayed" else set())


def test_a_letter_shows_why_and_when_and_the_fields_of_its_event_and_nothing_else_of_its_bytes(status):
    event = progress_event(prompt=SECRET_WORDS) | {"note": SECRET_WORDS}
    path = bury(status, event)
    letter = status.get(path).json()
    assert path == f"/dead-letters/{letter['id']}"
    assert (letter["topic"], letter["reason"]) == (RUN_LIFECYCLE, "readable, but its deliveries failed")
    assert letter["size"] == len(json.dumps(event)) and letter["received_at"].startswith("20")
    assert (letter["event"]["event_id"], letter["event"]["run_id"]) == (event["id"], event["subject"])
    assert (letter["event"]["type"], letter["event"]["data"]["step"]) == ("run.progress", 2)
    unknown = bury(status, event | {"id": str(uuid4()), "type": "run.unheard_of"})
    assert "data" not in status.get(unknown).json()["event"]
    shown = [status.get(one).text for one in (path, unknown, "/dead-letters?status=all", bury(status, b"[" + b"x"))]
    assert SECRET_WORDS not in "".join(shown)


def test_open_letters_are_those_that_nobody_decided_about_newest_first(status):
    paths = [bury(status, progress_event(), topic) for topic in (RUN_LIFECYCLE, RUN_REQUESTED, RUN_LIFECYCLE)]
    status.post(f"{paths[0]}/replay").raise_for_status()
    of = lambda query: [f"/dead-letters/{one['id']}" for one in listed(status, query)["dead_letters"]]  # noqa: E731
    assert of("") == of("?status=open") == [paths[2], paths[1]]
    assert of("?status=all") == paths[::-1]
    assert of("?limit=1") == [paths[2]]
    decided = listed(status, "?status=all")["dead_letters"][-1]["decision"]
    assert (decided["decision"], decided["outcome"]) == ("replayed", "ok")


def test_pages_of_dead_letters_follow_one_another_without_a_gap_or_a_double(status, engine):
    owner = engine(None)
    twice = b"on both topics, in one moment"
    for body in (b"a", b"b", b"c", twice):
        store_dead_letter(engine("status"), RUN_LIFECYCLE, body)
    store_dead_letter(engine("status"), RUN_REQUESTED, twice)
    change(owner, "ALTER TABLE audit.dead_letter DISABLE TRIGGER USER")
    change(owner, "UPDATE audit.dead_letter SET received_at = now()")  # of one moment: the id decides
    expected = [one["id"] for one in listed(status)["dead_letters"]]
    seen, cursor = [], {}
    for number in range(3):
        page = listed(status, params={"limit": 2} | cursor)
        seen += [one["id"] for one in page["dead_letters"]]
        cursor = {"cursor": page.get("next_cursor")}
        bury(status, b"later" * (number + 1))
    assert len(expected) == 5 and seen == expected
    assert "next_cursor" not in page


def test_a_bad_filter_or_cursor_is_a_400_that_names_it(status):
    run_cursor = f"1_{uuid4().hex}"
    for query in ("limit=0", "limit=201", "status=new", "cursor=x", f"cursor={run_cursor}", "cursor="):
        answer = status.get(f"/dead-letters?{query}")
        assert answer.status_code == 400, query
        assert answer.json()["detail"].startswith(f"{query.split('=')[0]}: ")


def test_dead_letters_are_for_admins_and_an_unknown_one_is_404(status):
    path = bury(status, progress_event())
    calls = [("GET", "/dead-letters"), ("GET", path), ("POST", f"{path}/replay"), ("POST", f"{path}/discard")]
    for method, url in calls:
        assert status.request(method, url, headers=signed("ann", admin=False)).status_code == 403
        assert status.request(method, url, headers=signed(secret="another secret, long enough")).status_code == 401
    for name in ("0" * 64 + ":run.lifecycle", "0" * 64 + ":other.topic", "x", "%00", path[-5:]):
        for method, rest in (("GET", ""), ("POST", "/replay"), ("POST", "/discard")):
            answer = status.request(method, f"/dead-letters/{name}{rest}")
            assert (answer.status_code, answer.json()["code"]) == (404, "dead_letter_not_found")


def test_a_decision_while_the_database_is_away_is_503_and_is_made_when_it_is_asked_for_again(
    status, engine, administer, database_url
):
    path = bury(status, progress_event())
    with database_away(administer, database_url):
        assert status.post(f"{path}/replay").status_code == 503
    assert status.post(f"{path}/replay").json()["outcome"] == "ok"
    assert len(decisions(engine)) == 1
