"""Attempts that go on from each other's checkpoints, and what remains of these when a run has ended."""

import os
import signal
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from oncetune.artifacts.checkpoints import checkpoint_place
from oncetune.contracts.checkpoint import sealed_steps
from oncetune.ledger.requests import request_cancel
from oncetune.postgres import transaction
from tests.deadline import eventually
from tests.ledger.given import change, record, rows_of
from tests.trainer.rows import the_requeue, the_run, the_trail
from tests.trainer.working import Working, alive, working

PATIENT = {"child_grace": timedelta(seconds=10)}


def _kept(folder: Path, run_id: UUID) -> dict[str, list[int]]:
    """Steps by attempt."""
    places = (folder / "artifacts" / str(run_id) / "checkpoints").glob("*")
    return {place.name: steps for place in places if (steps := sealed_steps(place))}


def _checkpointed(owner, step: int) -> bool:
    return the_run(owner).checkpoint_step == step


def _kill(trainer: Working, owner) -> None:
    """The child dies, and the pause before the next attempt is over."""
    child = trainer.pid()
    (trainer.control / "pid").unlink()
    os.kill(child, signal.SIGKILL)
    eventually(lambda: the_requeue(owner))
    change(owner, "UPDATE ledger.run SET available_at = now()")


def test_a_new_attempt_goes_on_from_the_checkpoint_of_the_one_before_and_tells_so(engine, database_url, tmp_path):
    run_id, owner = record(engine("trigger")).run_id, engine(None)
    with working(database_url, tmp_path, "checkpoints", **PATIENT) as trainer:
        eventually(lambda: _checkpointed(owner, 10))
        _kill(trainer, owner)
        eventually(lambda: _checkpointed(owner, 20))
        assert _kept(tmp_path, run_id) == {"2": [20, 10]}, "the second attempt took the first one's, then wrote its own"
    told = rows_of(owner, "SELECT payload FROM ledger.outbox WHERE type = 'run.progress' ORDER BY position")
    by_attempt = {row.payload["attempt"]: row.payload for row in told}
    assert {attempt: told["resumed_from_step"] for attempt, told in by_attempt.items()} == {1: None, 2: 10}


def test_a_damaged_checkpoint_costs_the_next_attempt_its_head_start_and_nothing_else(engine, database_url, tmp_path):
    run_id, owner = record(engine("trigger")).run_id, engine(None)
    with working(database_url, tmp_path, "checkpoints", **PATIENT) as trainer:
        eventually(lambda: _checkpointed(owner, 10))
        weights = checkpoint_place(tmp_path / "artifacts", run_id, 1) / "10" / "weights"
        weights.write_text("of step XX")
        _kill(trainer, owner)
        eventually(lambda: _kept(tmp_path, run_id) == {"2": [10]})
        eventually(lambda: (the_run(owner).progress or {}).get("step") == 10)
        assert the_run(owner).progress["resumed_from_step"] is None
        trainer.go()
        eventually(lambda: the_run(owner).state == "completed")


def test_a_checkpoint_that_kills_who_loads_it_costs_the_run_its_head_start_and_not_its_end(
    engine, database_url, tmp_path
):
    record(engine("trigger"))
    owner = engine(None)
    with working(database_url, tmp_path, "checkpoints_that_kill", **PATIENT) as trainer:
        eventually(lambda: _checkpointed(owner, 10))
        _kill(trainer, owner)
        eventually(lambda: the_run(owner).strikes == 2)
        change(owner, "UPDATE ledger.run SET available_at = now()")
        trainer.go()
        eventually(lambda: the_run(owner).state in ("completed", "failed"))
    run = the_run(owner)
    assert (run.state, run.attempt, run.strikes) == ("completed", 3, 2)


def test_another_recipe_of_the_same_run_goes_on_from_nothing(engine, database_url, tmp_path):
    """No service changes a recipe; an operator's hand might."""
    run_id, owner = record(engine("trigger")).run_id, engine(None)
    with working(database_url, tmp_path, "checkpoints", **PATIENT) as trainer:
        eventually(lambda: _checkpointed(owner, 10))
        change(owner, "UPDATE ledger.run SET recipe = jsonb_set(recipe, '{hyperparameters,seed}', '7')")
        _kill(trainer, owner)
        eventually(lambda: _kept(tmp_path, run_id) == {"2": [10]})
        eventually(lambda: (the_run(owner).progress or {}).get("step") == 10)
        assert the_run(owner).progress["resumed_from_step"] is None


def test_told_to_stop_a_trainer_gives_its_run_back_with_a_last_checkpoint(engine, database_url, tmp_path):
    run_id, owner = record(engine("trigger")).run_id, engine(None)
    with working(database_url, tmp_path, "checkpoints", **PATIENT) as trainer:
        eventually(lambda: _checkpointed(owner, 10))
        child = trainer.pid()
    assert not alive(child)
    assert _kept(tmp_path, run_id) == {"1": [11, 10]}
    run = the_run(owner)
    assert (run.state, run.strikes, run.checkpoint_step) == ("queued", 0, 11)
    assert the_trail(owner)[-1].payload["reason"] == "released"


def test_a_child_that_somebody_else_stopped_is_a_strike_and_its_checkpoint_stays(engine, database_url, tmp_path):
    """Else a child that always says so would be tried for ever; one that gets further is forgiven its strikes."""
    record(engine("trigger"))
    owner = engine(None)
    with working(database_url, tmp_path, "checkpoints", child_grace=timedelta(seconds=1)) as trainer:
        eventually(lambda: _checkpointed(owner, 10))
        trainer.slot.close()
        os.kill(trainer.pid(), signal.SIGTERM)
        eventually(lambda: the_run(owner).state == "queued")
    assert (the_run(owner).strikes, the_run(owner).checkpoint_step) == (1, 11)


def test_a_cancelled_run_keeps_its_last_checkpoint_only(engine, database_url, tmp_path):
    run_id, owner = record(engine("trigger")).run_id, engine(None)
    with working(database_url, tmp_path, "checkpoints", **PATIENT):
        eventually(lambda: _checkpointed(owner, 10))
        with transaction(engine("trigger")) as session:
            request_cancel(session, run_id, requested_by="ann")
        eventually(lambda: the_run(owner).state == "cancelled")
        eventually(lambda: _kept(tmp_path, run_id) == {"1": [11]})
    assert the_run(owner).checkpoint_step == 11


@pytest.mark.parametrize(("behaviour", "state"), [("checkpoints", "completed"), ("checkpoints_and_refuses", "failed")])
def test_a_run_with_its_result_keeps_no_checkpoint(engine, database_url, tmp_path, behaviour, state):
    run_id, owner = record(engine("trigger")).run_id, engine(None)
    with working(database_url, tmp_path, behaviour, **PATIENT) as trainer:
        eventually(lambda: _checkpointed(owner, 10))
        trainer.go()
        eventually(lambda: the_run(owner).state == state)
        eventually(lambda: not (tmp_path / "artifacts" / str(run_id) / "checkpoints").exists())
    assert the_run(owner).checkpoint_step is None


def test_checkpoints_of_runs_that_ended_elsewhere_are_swept_and_those_of_strangers_are_not(
    engine, database_url, tmp_path
):
    trigger, owner = engine("trigger"), engine(None)
    failed, cancelled, waiting = (record(trigger, kb_id).run_id for kb_id in ("failed", "cancelled", "waiting"))
    stranger = UUID(int=7)
    for run_id in (failed, cancelled, waiting, stranger):
        for attempt in (1, 2):
            (checkpoint_place(tmp_path / "artifacts", run_id, attempt) / "10").mkdir(parents=True)
    change(
        owner,
        "UPDATE ledger.run SET state = kb_id, finished_at = now(),"
        " error = CASE kb_id WHEN 'failed' THEN '{}'::jsonb END WHERE kb_id <> 'waiting'",
    )
    change(owner, "UPDATE ledger.run SET available_at = now() + interval '1 day' WHERE kb_id = 'waiting'")
    with working(database_url, tmp_path, "checkpoints", sweep_every=timedelta(0)):
        eventually(lambda: _kept(tmp_path, failed) == {})
        eventually(lambda: _kept(tmp_path, cancelled) == {"2": [10]})
    for run_id in (waiting, stranger):
        assert _kept(tmp_path, run_id) == {"1": [10], "2": [10]}
