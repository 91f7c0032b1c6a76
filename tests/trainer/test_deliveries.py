"""`run.requested` as it reaches real trainers over HTTP: many times, to many of them, to busy ones."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle

import pytest

from oncetune.dapr import TOKEN_HEADER
from oncetune.ledger.outbox import Pace, take_events
from oncetune.postgres import transaction
from tests.deadline import eventually
from tests.ledger.given import record, rows_of
from tests.loglines import captured_lines
from tests.outage import database_away
from tests.serving import APP_TOKEN, serving
from tests.trainer.working import command


@pytest.fixture
def start(monkeypatch, database_url, tmp_path):
    """`start("name")`: the client of a running trainer that polls seldom, unless told otherwise."""
    with ExitStack() as running:

        def one(name, *, behaviour="waits", poll="PT1M"):
            folder = tmp_path / name
            environment = {
                "ONCETUNE_TRAINER_NAME": name,
                "ONCETUNE_TRAINER_POLL_EVERY": poll,
                "ONCETUNE_TRAINER_CHILD_GRACE": "PT0.2S",
                "ONCETUNE_TRAINER_TRAINING_COMMAND": json.dumps(command(behaviour, folder / "control")),
                "ONCETUNE_TRAINER_STAGING": str(folder / "staging"),
                "ONCETUNE_ARTIFACTS": str(tmp_path / "artifacts"),
                "ONCETUNE_MODEL_CACHE": str(tmp_path / "models"),
            }
            return running.enter_context(
                serving(monkeypatch, "trainer", database_url=database_url, environment=environment)
            )

        yield one


def _events(engine):
    with transaction(engine("trigger")) as session:
        return {event.document["data"]["kb_id"]: event.document for event in take_events(session, Pace())}


def _deliver(client, document):
    answer = client.post("/events/run-requested", headers={TOKEN_HEADER: APP_TOKEN}, json=document)
    assert answer.status_code == 200
    return answer.json()["status"]


def _running(owner):
    return rows_of(owner, "SELECT * FROM ledger.run WHERE state = 'running'")


def test_one_event_delivered_fifty_times_at_once_to_four_trainers_is_one_claim(engine, start, tmp_path):
    record(engine("trigger"))
    [event] = _events(engine).values()
    with captured_lines() as lines:
        trainers = [start(f"trainer{number}") for number in range(4)]
        with ThreadPoolExecutor(50) as sidecars:
            pairs = [trainer for trainer, _ in zip(cycle(trainers), range(50), strict=False)]
            replies = list(sidecars.map(lambda trainer: _deliver(trainer, event), pairs))
        offers = Counter(line["offer"] for line in lines.events("event.processed"))
    assert replies == ["SUCCESS"] * 50
    assert offers["claimed"] == 1
    assert offers["busy"] + offers["nothing"] == 49
    assert len(_running(engine(None))) == 1
    started = "SELECT FROM ledger.outbox WHERE type = 'run.started'"
    assert len(rows_of(engine(None), started)) == 1
    eventually(lambda: len(list(tmp_path.glob("trainer*/control/pid"))) == 1)


def test_a_busy_trainer_answers_success_at_once_and_its_poll_claims_when_it_is_free(engine, start, tmp_path):
    owner = engine(None)
    for kb_id in ("first", "second"):
        record(engine("trigger"), kb_id)
    events = _events(engine)
    trainer = start("trainer", behaviour="finishes", poll="PT0.05S")
    eventually(lambda: _running(owner))
    with captured_lines() as lines:
        assert [_deliver(trainer, event) for event in events.values()] == ["SUCCESS"] * 2
        assert [(line["outcome"], line["offer"]) for line in lines.events("event.processed")] == [("ok", "busy")] * 2
    assert len(_running(owner)) == 1
    (tmp_path / "trainer" / "control" / "go").touch()
    eventually(lambda: len(rows_of(owner, "SELECT FROM ledger.run WHERE state = 'completed'")) == 2)


def test_an_event_that_comes_after_the_end_claims_nothing(engine, start, tmp_path):
    owner = engine(None)
    record(engine("trigger"))
    [event] = _events(engine).values()
    trainer = start("trainer", behaviour="finishes", poll="PT0.05S")
    (tmp_path / "trainer" / "control").mkdir(exist_ok=True)
    (tmp_path / "trainer" / "control" / "go").touch()
    eventually(lambda: rows_of(owner, "SELECT FROM ledger.run WHERE state = 'completed'"))
    with captured_lines() as lines:
        repeats = lambda: _deliver(trainer, event) and lines.events("event.processed", outcome="duplicate")  # noqa: E731
        [line] = eventually(repeats)  # busy until the trainer has put everything away
    assert (line["event_id"], line["run_id"]) == (event["id"], event["subject"])
    assert rows_of(owner, "SELECT attempt FROM ledger.run")[0].attempt == 1


def test_what_is_no_event_is_answered_success_since_status_keeps_the_dead_letter(start):
    trainer = start("trainer")
    with captured_lines() as lines:
        for document in ({}, [], {"specversion": "1.0"}, "text"):
            assert _deliver(trainer, document) == "SUCCESS"
    assert [line["outcome"] for line in lines.events("event.invalid")] == ["invalid"] * 4


def test_a_delivery_while_the_database_is_away_is_retry(engine, start, administer, database_url):
    record(engine("trigger"))
    [event] = _events(engine).values()
    trainer = start("trainer")
    with captured_lines() as lines, database_away(administer, database_url):
        assert _deliver(trainer, event) == "RETRY"
        [line] = lines.events("event.retry")
        assert (line["outcome"], line["event_id"], line["run_id"]) == ("retry", event["id"], event["subject"])
        assert trainer.get("/live").status_code == 200
        assert trainer.get("/ready").status_code == 503
    assert _deliver(trainer, event) == "SUCCESS"
    assert len(_running(engine(None))) == 1


def test_a_delivery_needs_no_poll_to_be_trained(engine, start, tmp_path):
    trainer = start("trainer")
    record(engine("trigger"))
    [event] = _events(engine).values()
    assert _deliver(trainer, event) == "SUCCESS"
    eventually((tmp_path / "trainer" / "control" / "pid").exists, seconds=4)
