"""The rows are looked at before the training, once a run; the gate decides what comes of it."""

from datetime import timedelta

import pytest

from oncetune.contracts.preferences import PreferencePair
from oncetune.contracts.quality import QualityReport
from oncetune.datasets.packing import pack_rows
from oncetune.trainer import preparation
from tests.deadline import eventually
from tests.ledger.given import change, record
from tests.loglines import captured_lines
from tests.trainer.rows import the_run, the_trail, the_types
from tests.trainer.working import working

PAIRS = [PreferencePair(prompt=f"What is {n} + 1?", chosen=f"It is {n + 1}.", rejected="No idea.") for n in range(20)]
EQUAL = [PreferencePair(prompt="Who?", chosen="Gr4ce Hopper.", rejected="Gr4ce Hopper.")]
GOOD, GRAVE = pack_rows(PAIRS), pack_rows(PAIRS + EQUAL)


def gate(owner, word: str) -> None:
    to_word = "recipe || jsonb_build_object('quality_gate', CAST(:gate AS text))"
    change(owner, f"UPDATE ledger.run SET recipe = {to_word}", gate=word)


def test_off_keeps_no_report_and_trains(engine, database_url, tmp_path):
    owner = engine(None)
    record(engine("trigger"), rows=GRAVE)
    gate(owner, "off")
    with captured_lines() as lines, working(database_url, tmp_path, "finishes") as trainer:
        trainer.go()
        eventually(lambda: the_run(owner).state == "completed", seconds=60)
    assert the_run(owner).quality is None
    assert lines.events("dataset.examined") == []


@pytest.mark.parametrize("word", ["off", "warn"])
@pytest.mark.parametrize("share", [1.0, 0.2])
def test_a_set_of_equal_answers_or_too_many_fails_before_a_training_starts_at_any_gate(
    engine, database_url, tmp_path, word, share
):
    owner = engine(None)
    record(engine("trigger"), rows=pack_rows(EQUAL if share == 1 else EQUAL + PAIRS[:3]))
    gate(owner, word)
    knob = "jsonb_set(recipe, '{hyperparameters,max_dropped_share}', to_jsonb(CAST(:share AS float)))"
    change(owner, f"UPDATE ledger.run SET recipe = {knob}", share=share)
    with working(database_url, tmp_path, "finishes") as trainer:
        eventually(lambda: the_run(owner).state == "failed", seconds=60)
        assert not (trainer.control / "pid").exists()
    error = the_run(owner).error
    assert error["code"] == "equal_answers"
    assert f"In 1 of {1 if share == 1 else 4} rows chosen and rejected are the same" in error["message"]
    assert "Gr4ce" not in error["message"]
    assert (the_run(owner).quality is None) == (word == "off")


def test_warn_stores_what_it_saw_and_trains(engine, database_url, tmp_path):
    owner = engine(None)
    record(engine("trigger"), rows=GRAVE)
    with captured_lines() as lines, working(database_url, tmp_path, "finishes") as trainer:
        trainer.go()
        eventually(lambda: the_run(owner).state == "completed", seconds=60)
    report = QualityReport.model_validate(the_run(owner).quality)
    assert (report.rows, bool(report.errors)) == (21, True)
    [line] = lines.events("dataset.examined")
    assert (line["rows"], line["errors"]) == (21, len(report.errors))
    assert "Gr4ce" not in lines.getvalue()
    assert "Gr4ce" in str(the_run(owner).quality), "the example is for the report"


def test_block_fails_the_run_before_a_training_starts_and_names_finding_and_line(engine, database_url, tmp_path):
    owner = engine(None)
    record(engine("trigger"), rows=GRAVE)
    gate(owner, "block")
    with working(database_url, tmp_path, "finishes") as trainer:
        eventually(lambda: the_run(owner).state == "failed", seconds=60)
        assert not (trainer.control / "pid").exists()
    error = the_run(owner).error
    report = QualityReport.model_validate(the_run(owner).quality)
    assert error["code"] == "dataset_quality"
    assert all(f"{finding.code} (" in error["message"] for finding in report.errors)
    assert "21" in error["message"]
    assert "Gr4ce" not in error["message"]
    assert the_types(owner) == ["run.requested", "run.started", "run.failed"]


def test_block_trains_what_has_no_grave_finding(engine, database_url, tmp_path):
    owner = engine(None)
    record(engine("trigger"), rows=GOOD)
    gate(owner, "block")
    with working(database_url, tmp_path, "finishes") as trainer:
        trainer.go()
        eventually(lambda: the_run(owner).state == "completed", seconds=60)
    assert QualityReport.model_validate(the_run(owner).quality).errors == ()


def test_a_later_attempt_reads_the_report_of_the_first(engine, database_url, tmp_path):
    owner = engine(None)
    record(engine("trigger"), rows=GRAVE)
    at_once = {"max_requeue_backoff": timedelta(0), "max_strikes": 100}
    with captured_lines() as lines, working(database_url, tmp_path, "dies", **at_once) as trainer:
        trainer.go()
        eventually(lambda: the_run(owner).attempt >= 3, seconds=60)
    assert len(lines.events("checking.started")) == 1
    assert the_run(owner).quality is not None


@pytest.mark.parametrize(("word", "end"), [("warn", "run.completed"), ("block", "run.requeued")])
def test_a_look_that_dies_stops_only_a_run_with_block(engine, database_url, tmp_path, monkeypatch, word, end):
    owner = engine(None)
    record(engine("trigger"), rows=GOOD)
    gate(owner, word)
    monkeypatch.setattr(preparation, "_PROGRAM", ("false",))
    with captured_lines() as lines, working(database_url, tmp_path, "finishes") as trainer:
        trainer.go()
        eventually(lambda: len(the_types(owner)) > 2, seconds=60)
    assert the_types(owner)[2] == end
    assert (the_run(owner).quality, bool(lines.events("quality.unknown"))) == (None, word == "warn")
    assert the_trail(owner)[2].payload.get("reason") == {"warn": None, "block": "child_died"}[word]


def test_a_look_that_hangs_takes_none_of_the_training_s_time(engine, database_url, tmp_path, monkeypatch):
    owner = engine(None)
    record(engine("trigger"), rows=GOOD)
    monkeypatch.setattr(preparation, "_PROGRAM", ("sh", "-c", "exec sleep 60"))
    deadline = timedelta(seconds=3)
    with captured_lines() as lines, working(database_url, tmp_path, "finishes", progress_deadline=deadline) as trainer:
        trainer.go()
        eventually(lambda: the_run(owner).state == "completed", seconds=20)
    assert (the_run(owner).attempt, len(lines.events("quality.unknown"))) == (1, 1)
