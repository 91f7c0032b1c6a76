"""An attempt from its claim to its end, for every way in which a child can end and a run can be lost."""

from datetime import timedelta

import pytest

from oncetune.trainer.child import MAX_LINE
from oncetune.trainer.training_log import THE_REST_IS_MISSING
from tests.chaos.disks import disk
from tests.chaos.ground import Part, missing_parts
from tests.deadline import eventually
from tests.ledger.given import change, record, rows_of
from tests.loglines import captured_lines
from tests.trainer.rows import the_requeue, the_run, the_types
from tests.trainer.working import settings, working


def test_a_run_is_trained_published_and_completed(engine, database_url, tmp_path):
    run_id, owner = record(engine("trigger")).run_id, engine(None)
    with working(database_url, tmp_path, "finishes") as trainer:
        trainer.go()
        eventually(lambda: the_run(owner).state == "completed")
    run = the_run(owner)
    assert run.metrics == {"loss": 0.5, "not_a_number": None, "nul": "a\ufffdb"}
    assert run.artifact_uri == (tmp_path / "artifacts" / str(run_id) / "1" / "adapter").as_uri()
    assert (run.attempt, run.strikes, len(run.adapter_sha256)) == (1, 0, 64)
    assert the_types(owner) == ["run.requested", "run.started", "run.completed"]
    assert (tmp_path / "artifacts" / str(run_id) / "1" / "training.log").exists()
    assert list((tmp_path / "staging").iterdir()) == []


def test_progress_reaches_the_run_and_becomes_at_most_twenty_events(engine, database_url, tmp_path):
    """Of a child, even, that counts five times beyond its steps."""
    record(engine("trigger"))
    owner = engine(None)
    with working(database_url, tmp_path, "counts", renew_every=timedelta(milliseconds=10)) as trainer:
        eventually(lambda: (the_run(owner).progress or {}).get("step") == 100)
        progress = the_run(owner).progress
        trainer.go()
        eventually(lambda: the_run(owner).state == "completed")
    assert (progress["steps"], progress["loss"], progress["seconds_left"]) == (20, 0.01, 1.5)
    events = rows_of(owner, "SELECT payload FROM ledger.outbox WHERE type = 'run.progress' ORDER BY position")
    assert 2 <= len(events) <= 20
    steps = [event.payload["step"] for event in events]
    assert steps == sorted(steps)


def test_a_child_that_dies_is_a_strike_and_the_run_waits_for_its_next_attempt(engine, database_url, tmp_path):
    run_id, owner = record(engine("trigger")).run_id, engine(None)
    with working(database_url, tmp_path, "dies") as trainer:
        trainer.go()
        requeue = eventually(lambda: the_requeue(owner))
        assert trainer.pid()
    assert (requeue.payload["strikes"], requeue.payload["reason"]) == (1, "child_died")
    run = the_run(owner)
    assert run.available_at > run.started_at
    log = tmp_path / "artifacts" / str(run_id) / "1" / "training.log"
    assert log.read_text() == "CUDA out of memory\n"


@pytest.mark.parametrize("behaviour", ["lies", "adapterless"])
def test_an_end_without_a_result_is_no_success(engine, database_url, tmp_path, behaviour):
    record(engine("trigger"))
    owner = engine(None)
    with working(database_url, tmp_path, behaviour) as trainer:
        trainer.go()
        requeue = eventually(lambda: the_requeue(owner))
    assert (requeue.payload["strikes"], requeue.payload["reason"]) == (1, "child_died")


def test_the_last_strike_fails_the_run_with_its_reason(engine, database_url, tmp_path):
    record(engine("trigger"))
    owner = engine(None)
    with working(database_url, tmp_path, "dies", max_strikes=1) as trainer:
        trainer.go()
        eventually(lambda: the_run(owner).state == "failed")
    assert the_run(owner).error["code"] == "attempts_exhausted"
    assert "exit status -9" in the_run(owner).error["message"]


def test_a_refused_recipe_fails_at_once_with_the_childs_code_and_sentence(engine, database_url, tmp_path):
    record(engine("trigger"))
    owner = engine(None)
    with working(database_url, tmp_path, "refuses") as trainer:
        trainer.go()
        eventually(lambda: the_run(owner).state == "failed")
    assert the_run(owner).error == {"code": "rows_too_long", "message": "Every row is too long\ufffd, use max_length."}
    assert the_types(owner) == ["run.requested", "run.started", "run.failed"]


def test_a_recipe_or_a_dataset_that_cannot_be_read_fails_its_run_and_not_the_trainer(engine, database_url, tmp_path):
    trigger, owner = engine("trigger"), engine(None)
    for kb_id in ("recipe", "dataset"):
        record(trigger, kb_id)
    change(owner, """UPDATE ledger.run SET recipe = recipe || '{"algo": "magic"}' WHERE kb_id = 'recipe'""")
    change(owner, "UPDATE ledger.dataset_chunk SET content = '\\x00'")
    with working(database_url, tmp_path, "finishes") as trainer:
        states = "SELECT state FROM ledger.run WHERE state = 'failed'"
        eventually(lambda: len(rows_of(owner, states)) == 2)
        assert not (trainer.control / "pid").exists(), "no child was started for either"
    codes = {run.kb_id: run.error["code"] for run in rows_of(owner, "SELECT kb_id, error FROM ledger.run")}
    assert codes == {"recipe": "bad_recipe", "dataset": "broken_dataset"}


def test_lines_that_are_not_the_protocol_change_nothing(engine, database_url, tmp_path):
    record(engine("trigger"))
    owner = engine(None)
    with captured_lines() as lines, working(database_url, tmp_path, "garbage") as trainer:
        eventually(lambda: (the_run(owner).progress or {}).get("step") == 1)
        assert the_run(owner).progress["loss"] is None
        trainer.go()
        eventually(lambda: the_run(owner).state == "completed")
    unreadable = lines.events("child.unreadable_line")
    assert len(unreadable) == 9, "one for each line, the huge one included"
    assert max(line["bytes"] for line in unreadable) == MAX_LINE, "of which no more is held at once"
    assert {line["run_id"] for line in unreadable} == {str(the_run(owner).id)}


@pytest.mark.parametrize("megabytes", [2] * (Part.DISKS not in missing_parts()))
def test_a_child_that_dies_of_a_full_disk_is_no_strike(engine, database_url, tmp_path, megabytes):
    record(engine("trigger"))
    owner, staging = engine(None), tmp_path / "staging"
    staging.mkdir()
    with disk(staging, megabytes=megabytes) as beneath, working(database_url, tmp_path, "waits") as trainer:
        trainer.pid()
        with beneath.full():
            trainer.go()
            requeue = eventually(lambda: the_requeue(owner))
    assert (requeue.payload["strikes"], requeue.payload["reason"]) == (0, "not_stored")


def test_a_child_that_prints_for_ever_fills_no_disk_and_is_not_held_up(engine, database_url, tmp_path):
    run_id, owner = record(engine("trigger")).run_id, engine(None)
    with working(database_url, tmp_path, "chatters", max_log_bytes=50_000) as trainer:
        trainer.go()
        eventually(lambda: the_run(owner).state == "completed")
    kept = (tmp_path / "artifacts" / str(run_id) / "1" / "training.log").read_bytes()
    assert kept == (b"x" * 9_999 + b"\n") * 5 + THE_REST_IS_MISSING


def test_a_training_program_that_cannot_be_started_is_a_strike_and_not_a_silence(engine, database_url, tmp_path):
    record(engine("trigger"))
    owner = engine(None)
    with working(database_url, tmp_path, "finishes", training_command=(str(tmp_path / "missing"),)):
        eventually(lambda: the_run(owner).strikes == 1)
    assert the_run(owner).state == "queued"


def test_a_run_that_breaks_the_trainers_code_ends_by_its_lease_and_the_trainer_goes_on(engine, database_url, tmp_path):
    trigger, owner = engine("trigger"), engine(None)
    first = record(trigger, "first").run_id
    change(owner, "ALTER TABLE ledger.run ADD CONSTRAINT broken CHECK (kb_id <> 'first' OR state <> 'completed')")
    with captured_lines() as lines, working(database_url, tmp_path, "finishes") as trainer:
        trainer.go()
        [broken] = eventually(lambda: lines.events("attempt.broken"))
        second = record(trigger, "second").run_id
        eventually(lambda: rows_of(owner, "SELECT FROM ledger.run WHERE id = :id AND state = 'completed'", id=second))
    assert broken["run_id"] == str(first)
    assert rows_of(owner, "SELECT state FROM ledger.run WHERE id = :id", id=first)[0].state == "running"


def test_what_a_life_before_left_in_staging_is_gone_at_the_start(database_url, tmp_path):
    old = tmp_path / "staging" / "run-1"
    old.mkdir(parents=True)
    with working(database_url, tmp_path, "finishes"):
        assert not old.exists()


@pytest.mark.parametrize("folder", ["artifacts", "model_cache"])
def test_a_staging_folder_that_holds_what_must_last_is_a_start_error(tmp_path, folder):
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="outside"):
        settings("postgresql://nowhere/x", tmp_path, "finishes", staging=tmp_path, **{folder: tmp_path / "link"})


def test_the_poll_finds_what_no_message_announced_one_run_after_the_other(engine, database_url, tmp_path):
    trigger, owner = engine("trigger"), engine(None)
    with working(database_url, tmp_path, "finishes") as trainer:
        trainer.go()
        for number in range(3):
            record(trigger, f"kb{number}")
        eventually(lambda: len(rows_of(owner, "SELECT FROM ledger.run WHERE state = 'completed'")) == 3)
        assert len(trainer.adapters()) == 3
