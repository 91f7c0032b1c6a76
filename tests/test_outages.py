"""While the database is away, a loop says so once, then once a minute, and says when it is back; so do all requests."""

import threading
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from functools import partial

import pytest

from oncetune.ledger.leases import StrikeRule
from oncetune.ledger.outbox import Pace
from oncetune.logs import Outage
from oncetune.postgres import DATABASE_AWAY
from oncetune.trainer.slot import Offer
from oncetune.trigger.expiry import expire
from oncetune.trigger.relay import relay
from oncetune.trigger.sweep import sweep
from tests.deadline import eventually
from tests.ledger.given import record
from tests.loglines import captured_lines
from tests.outage import counted_connects, database_away
from tests.serving import serving, signed
from tests.trainer.working import working
from tests.trigger.asked import ask, document

MANY = 5  # tries; each was a line
LOOPS = {
    "relay": partial(relay, publish=lambda *_: None, pace=Pace(), wake=threading.Event()),
    "expiry": partial(expire, rule=StrikeRule(), batch=100),
    "sweep": partial(sweep, outbox_kept=timedelta(days=7), batch=1000),
}


@contextmanager
def looping(loop, engine):
    stop = threading.Event()
    thread = threading.Thread(target=loop, args=(engine,), kwargs={"stop": stop, "every": 0.02})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def stay_away(administer, database_url) -> None:
    """Until everybody who lives on the database has tried to reach it MANY times."""
    with counted_connects() as connects, database_away(administer, database_url):
        before = connects()
        eventually(lambda: connects() > before + MANY)


def test_an_outage_is_told_when_it_begins_once_a_minute_and_when_it_is_over():
    now = [1000.0]
    outage = Outage(away="x.waits", back="x.resumed", clock=lambda: now[0], attempt=3)
    with captured_lines() as lines:
        outage.over()
        assert lines.events() == []
        for second in range(150):
            now[0] = 1000.0 + second
            outage.goes_on(ConnectionError())
        outage.over()
        outage.over()
        outage.goes_on(ConnectionError())
        told = [(line["event"], line["away_seconds"], line["tries"], line["attempt"]) for line in lines.events()]
        assert {line["reason"] for line in lines.events("x.waits")} == {"ConnectionError"}
    assert told == [
        ("x.waits", 0, 1, 3),
        ("x.waits", 60, 61, 3),
        ("x.waits", 120, 121, 3),
        ("x.resumed", 149, 150, 3),
        ("x.waits", 0, 1, 3),
    ]


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_of_trigger_tells_an_outage_in_two_lines_however_often_it_tries(engine, administer, database_url, name):
    with captured_lines() as lines, looping(LOOPS[name], engine("trigger")):
        for outages in (1, 2):
            stay_away(administer, database_url)
            eventually(lambda expected=outages: len(lines.events(f"{name}.resumed")) == expected)
            assert len(lines.events(f"{name}.waits")) == outages
    assert all(line["tries"] > MANY / 2 for line in lines.events(f"{name}.resumed")), "it tried on, silently"


def test_requests_tell_an_outage_in_two_lines_however_many_meet_it(monkeypatch, administer, database_url):
    with captured_lines() as lines, serving(monkeypatch, "trigger", "status", database_url=database_url) as client:
        for outages in (1, 2):
            with database_away(administer, database_url):
                for number in range(MANY):
                    assert ask(client, document(f"kb {number}")).status_code == 503
                    assert client.get("/runs", headers=signed()).status_code == 503
            assert client.get("/runs", headers=signed()).status_code == 200
            [away, back] = (lines.events(f"database.{word}") for word in ("away", "back"))
            assert (len(away), len(back)) == (outages, outages)
            assert back[-1]["tries"] == 2 * MANY


@pytest.mark.parametrize(
    ("runs", "away", "back"), [(0, "claim.waits", "claim.resumed"), (1, "lease.not_renewed", "lease.renewed")]
)
def test_a_trainer_tells_an_outage_in_two_lines_whether_it_polls_or_trains(
    engine, administer, database_url, tmp_path, runs, away, back
):
    with ExitStack() as running:
        lines = running.enter_context(captured_lines())
        if runs:
            record(engine("trigger"))
        trainer = running.enter_context(
            working(database_url, tmp_path, "waits", outage_grace=timedelta(minutes=1), lease=timedelta(minutes=1))
        )
        if runs:
            trainer.pid()
        stay_away(administer, database_url)
        [line] = eventually(lambda: lines.events(back))
        assert len(lines.events(away)) == 1
    assert line["tries"] > MANY / 2


def test_a_claim_that_a_delivery_made_ends_the_outage_before_the_training_begins(
    engine, administer, database_url, tmp_path
):
    run_id = record(engine("trigger")).run_id
    slow = {"poll_every": timedelta(seconds=5), "lease": timedelta(minutes=1)}
    with captured_lines() as lines, ExitStack() as running:
        with database_away(administer, database_url):
            trainer = running.enter_context(working(database_url, tmp_path, "waits", **slow))
            eventually(lambda: lines.events("claim.waits"), seconds=30)
        eventually(lambda: _offered(trainer.slot, run_id))
        trainer.pid()
        names = [line["event"] for line in lines.events() if line["event"].startswith(("claim.", "run.claimed"))]
    assert names == ["claim.waits", "claim.resumed", "run.claimed"]


def _offered(slot, run_id) -> bool:
    with suppress(*DATABASE_AWAY):
        return slot.offer(run_id) is not Offer.NOTHING  # busy: the next poll came first
    return False
