"""A run that is taken away in mid-training: by a cancel, another attempt, a stop, an outage."""

import time
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import make_url

from oncetune.ledger.requests import request_cancel
from oncetune.postgres import transaction
from oncetune.trainer.slot import Offer, Slot
from oncetune.trainer.worker import Worker
from tests.deadline import eventually
from tests.ledger.given import change, claim, record, rows_of
from tests.loglines import captured_lines
from tests.outage import counted_connects, database_away
from tests.trainer.rows import the_run, the_trail, the_types
from tests.trainer.working import alive, settings, working

DAY = 24 * 60 * 60  # seconds


@pytest.fixture
def set_clock(monkeypatch):
    """Sets the wall clock of this process off by so many seconds, as an administrator does; CLOCK_MONOTONIC goes on."""
    right = time.time
    return lambda seconds: monkeypatch.setattr(time, "time", lambda: right() + seconds)


def test_a_cancel_stops_the_child_at_the_next_heartbeat(engine, database_url, tmp_path):
    run_id, owner = record(engine("trigger")).run_id, engine(None)
    with working(database_url, tmp_path, "waits") as trainer:
        child = trainer.pid()
        with transaction(engine("trigger")) as session:
            request_cancel(session, run_id, requested_by="ann")
        eventually(lambda: the_run(owner).state == "cancelled")
        assert not alive(child)
    assert the_run(owner).strikes == 0
    assert the_types(owner) == ["run.requested", "run.started", "run.cancel_requested", "run.cancelled"]


def _lose(owner, *, to):
    """The run goes to another trainer, as it would after an expiry that this one slept through."""
    change(
        owner,
        "UPDATE ledger.run SET state = 'queued', claim_id = NULL, lease_owner = NULL, lease_expires_at = NULL,"
        " available_at = now()",
    )
    assert claim(owner, to).attempt == 2


def test_a_lost_lease_kills_the_child_and_leaves_nothing_behind(engine, database_url, tmp_path):
    record(engine("trigger"))
    owner = engine(None)
    with captured_lines() as lines, working(database_url, tmp_path, "waits") as trainer:
        child = trainer.pid()
        trainer.slot.close()
        _lose(owner, to="another")
        eventually(lambda: not alive(child))
        eventually(lambda: lines.events("lease.lost", outcome="stale", run_id=str(the_run(owner).id), attempt=1))
    assert trainer.adapters() == []
    assert (the_run(owner).state, the_run(owner).lease_owner, the_run(owner).attempt) == ("running", "another", 2)


@pytest.mark.parametrize("behaviour", ["waits", "stubborn"])
def test_told_to_stop_a_trainer_reaps_its_child_and_gives_the_run_back_without_a_strike(
    engine, database_url, tmp_path, behaviour
):
    record(engine("trigger"))
    owner = engine(None)
    with working(database_url, tmp_path, behaviour) as trainer:
        child = trainer.pid()
    assert not alive(child)
    run = the_run(owner)
    assert (run.state, run.strikes, run.lease_owner) == ("queued", 0, None)
    assert the_trail(owner)[-1].payload["reason"] == "released"
    assert claim(engine("trainer"), "next").attempt == 2, "another trainer takes it at once"


@pytest.mark.parametrize("off", [0, DAY], ids=["clock right", "clock jumps ahead"])
def test_a_child_trains_on_while_the_database_is_away_and_finishes_when_it_is_back(
    engine, administer, database_url, tmp_path, set_clock, off
):
    record(engine("trigger"))
    owner = engine(None)
    with captured_lines() as lines, working(database_url, tmp_path, "finishes") as trainer:
        child = trainer.pid()
        with database_away(administer, database_url):
            eventually(lambda: lines.events("lease.not_renewed"))
            set_clock(off)
            with counted_connects() as connects:
                eventually(lambda: connects() >= 5)
            trainer.go()
            eventually(lambda: lines.events("attempt.not_ended"))
            assert not alive(child)
        eventually(lambda: the_run(owner).state == "completed")
        eventually(lambda: lines.events("attempt.ended"))
    assert (the_run(owner).attempt, the_types(owner)[-1]) == (1, "run.completed")
    told = [*lines.events("lease.not_renewed"), *lines.events("attempt.not_ended")]
    assert {line["run_id"] for line in told} == {str(the_run(owner).id)}, "the heartbeat's lines, too"


@pytest.mark.parametrize("off", [0, -DAY], ids=["clock right", "clock jumps back"])
def test_a_child_is_ended_when_the_outage_is_longer_than_lease_and_grace_and_the_run_goes_back(
    engine, administer, database_url, tmp_path, set_clock, off
):
    record(engine("trigger"))
    owner = engine(None)
    short = {"lease": timedelta(seconds=0.3), "outage_grace": timedelta(seconds=0.1)}
    with captured_lines() as lines, working(database_url, tmp_path, "waits", **short) as trainer:
        child = trainer.pid()
        eventually(lambda: the_run(owner).renewals >= 1)
        with database_away(administer, database_url):
            set_clock(off)
            eventually(lambda: not alive(child))
            eventually(lambda: lines.events("attempt.not_ended"))
            trainer.slot.close()
        eventually(lambda: the_run(owner).state == "queued")
        assert the_run(owner).strikes == 0


def test_no_connection_is_open_between_the_heartbeats_of_a_training(engine, database_url, tmp_path):
    record(engine("trigger"))
    owner = engine(None)
    slow = {"lease": timedelta(minutes=3), "renew_every": timedelta(minutes=1)}
    mine = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'oncetune_trainer'"
    with working(database_url, tmp_path, "waits", **slow) as trainer:
        assert alive(trainer.pid())
        eventually(lambda: the_run(owner).renewals == 1)
        eventually(lambda: rows_of(owner, mine) == [])


@contextmanager
def _read_only(administer, database_url):
    """As after a failover, or when a provider guards a full disk: connections stay, writes are refused."""
    name = make_url(database_url).database
    administer(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    yield
    administer(f"ALTER DATABASE {name} SET default_transaction_read_only = off")


def test_a_database_that_takes_no_writes_for_a_while_costs_neither_the_heartbeat_nor_the_adapter(
    engine, administer, database_url, tmp_path
):
    record(engine("trigger"))
    owner = engine(None)
    with captured_lines() as lines, working(database_url, tmp_path, "finishes") as trainer:
        trainer.pid()
        eventually(lambda: the_run(owner).renewals >= 1)
        with _read_only(administer, database_url):
            eventually(lambda: lines.events("lease.not_renewed"))
            renewals = the_run(owner).renewals
        eventually(lambda: the_run(owner).renewals > renewals)
        with _read_only(administer, database_url):
            trainer.go()
            eventually(lambda: lines.events("attempt.not_ended"))
        eventually(lambda: the_run(owner).state == "completed")
    assert the_run(owner).attempt == 1


def test_a_bug_in_a_heartbeat_is_shouted_about_and_the_next_one_tries_again(engine, database_url, tmp_path):
    record(engine("trigger"))
    owner = engine(None)
    with captured_lines() as lines, working(database_url, tmp_path, "waits") as trainer:
        trainer.pid()
        eventually(lambda: the_run(owner).renewals >= 1)
        change(owner, "ALTER TABLE ledger.run RENAME COLUMN renewals TO gone")
        eventually(lambda: lines.events("heartbeat.broken"))
        change(owner, "ALTER TABLE ledger.run RENAME COLUMN gone TO renewals")
        renewals = the_run(owner).renewals
        eventually(lambda: the_run(owner).renewals > renewals)


def test_a_lease_that_was_claimed_for_a_worker_which_stops_goes_back_without_a_strike(engine, database_url, tmp_path):
    run_id = record(engine("trigger")).run_id
    chosen = settings(database_url, tmp_path, "waits")
    slot = Slot(engine("trainer"), worker="worker", lease=chosen.lease)
    worker = Worker(engine("trainer"), engine("trainer"), slot, chosen)
    assert slot.offer(run_id) is Offer.CLAIMED
    worker._stop.set()
    with worker:
        pass
    run = the_run(engine(None))
    assert (run.state, run.strikes, run.lease_owner) == ("queued", 0, None)


def test_a_release_whose_answer_was_lost_is_not_taken_for_a_lost_run(
    engine, administer, database_url, tmp_path, monkeypatch
):
    from oncetune.trainer import attempt as room

    record(engine("trigger"))
    end_lease, cut = room.end_lease, []

    def end_and_cut(session, *lease, **ending):
        if not cut:
            with transaction(engine("trainer")) as line:
                end_lease(line, *lease, **ending)
            cut.append(session.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
            administer(f"SELECT pg_terminate_backend({cut[0]}, 5000)")
        return end_lease(session, *lease, **ending)

    monkeypatch.setattr(room, "end_lease", end_and_cut)
    with captured_lines() as lines:
        with working(database_url, tmp_path, "dies") as trainer:
            trainer.pid()
            trainer.slot.close()
            trainer.go()
            eventually(lambda: lines.events("attempt.not_ended"))
        assert lines.events("lease.lost") == []
        assert lines.events("attempt.ended", attempt=1, state=None)
    assert (the_run(engine(None)).state, the_run(engine(None)).strikes) == ("queued", 1)
