"""What a killed attempt left behind goes; what any run shows, or may show soon, stays."""

from datetime import timedelta
from threading import Event

import pytest

from oncetune.artifacts.folder import FolderStore
from oncetune.ledger.ids import new_event_id
from oncetune.ledger.leases import EndReason, StrikeRule, end_lease, finish_run
from oncetune.postgres import transaction
from oncetune.trainer import worker
from oncetune.trainer.slot import Offer
from oncetune.trainer.sweep import sweep
from tests.artifacts.given import publish_adapter
from tests.deadline import eventually
from tests.ledger.given import claim, record
from tests.trainer.rows import the_run
from tests.trainer.working import working


@pytest.fixture
def adapter(tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "weights").write_text("w")
    return folder


def _released(trainer, lease):
    with transaction(trainer) as session:
        rule = StrikeRule(3, timedelta(0))
        end_lease(session, lease.run_id, lease.attempt, reason=EndReason.RELEASED, rule=rule)


def _finished(trainer, lease, published=None):
    outcome = {"state": "failed", "error": {"code": "poison", "message": "No."}}
    if published:
        outcome = {"state": "completed", "artifact_uri": published.uri, "adapter_sha256": published.adapter_sha256}
    with transaction(trainer) as session:
        finish_run(session, lease, event_id=new_event_id(), **outcome)


def test_adapters_of_lost_attempts_are_swept_and_those_of_runs_that_show_them_are_not(engine, tmp_path, adapter):
    trigger, trainer, root = engine("trigger"), engine("trainer"), tmp_path / "artifacts"
    runs = {name: record(trigger, name).run_id for name in ("completed", "running", "queued", "failed")}
    for name, run_id in runs.items():
        for attempt in (1, 2):
            lease = claim(trainer, run_id=run_id)
            published = publish_adapter(root, run_id, attempt, adapter)
            if attempt == 1 or name == "queued":
                _released(trainer, lease)
        if name in ("completed", "failed"):
            _finished(trainer, lease, published if name == "completed" else None)
    (root / str(runs["running"]) / "3.arriving").mkdir()  # of an attempt that was claimed since

    for _ in range(2):
        sweep(trainer, FolderStore(root), root, batch=2)

    there = dict(FolderStore(root).places())
    left = {name: there[run_id] for name, run_id in runs.items()}
    assert left == {"completed": {2}, "running": {2, 3}, "queued": set(), "failed": set()}


def test_a_trainer_sweeps_by_itself(engine, database_url, tmp_path, adapter):
    run_id = record(engine("trigger")).run_id
    root = tmp_path / "artifacts"
    publish_adapter(root, run_id, 0, adapter)
    with working(database_url, tmp_path, "waits", sweep_every=timedelta(0)):
        eventually(lambda: dict(FolderStore(root).places()) == {run_id: set()})


def test_a_run_that_is_delivered_while_a_sweep_takes_long_is_trained_meanwhile(
    engine, database_url, tmp_path, monkeypatch
):
    owner, sweeping = engine(None), Event()

    def sweep_until_stopped(*_given, stop, **_named):
        sweeping.set()
        stop.wait()

    monkeypatch.setattr(worker, "sweep", sweep_until_stopped)
    with working(database_url, tmp_path, "finishes", poll_every=timedelta(minutes=1)) as trainer:
        assert sweeping.wait(30)
        assert trainer.slot.offer(record(engine("trigger")).run_id) is Offer.CLAIMED
        trainer.go()
        eventually(lambda: the_run(owner).state == "completed", seconds=30)
    assert (the_run(owner).attempt, the_run(owner).strikes) == (1, 0)


def test_a_sweep_that_is_told_to_stop_begins_no_further_run(engine, tmp_path, adapter):
    trigger, trainer, root, stop = engine("trigger"), engine("trainer"), tmp_path / "artifacts", Event()

    class Told(FolderStore):
        def discard(self, run_id, attempt):
            stop.set()
            super().discard(run_id, attempt)

    for name in ("one", "two", "three"):
        publish_adapter(root, record(trigger, name).run_id, 0, adapter)
    sweep(trainer, Told(root), root, batch=10, stop=stop)
    assert sorted(map(len, dict(FolderStore(root).places()).values())) == [0, 1, 1]
    sweep(trainer, FolderStore(root), root, batch=10, stop=stop)
    assert sorted(map(len, dict(FolderStore(root).places()).values())) == [0, 1, 1]


def test_a_child_that_gets_no_further_is_ended_with_a_strike(engine, database_url, tmp_path):
    record(engine("trigger"))
    owner = engine(None)
    with working(database_url, tmp_path, "waits", progress_deadline=timedelta(seconds=0.3), max_strikes=1):
        eventually(lambda: the_run(owner).state == "failed")
    assert (the_run(owner).strikes, the_run(owner).error["code"]) == (1, "attempts_exhausted")
    assert "no_progress" in the_run(owner).error["message"]


def test_words_that_say_the_same_again_are_no_progress(engine, database_url, tmp_path):
    record(engine("trigger"))
    owner = engine(None)
    with working(database_url, tmp_path, "repeats", progress_deadline=timedelta(seconds=0.3), max_strikes=1):
        eventually(lambda: the_run(owner).state == "failed")
    assert "no_progress" in the_run(owner).error["message"]
