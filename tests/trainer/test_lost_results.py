"""Whatever goes wrong while results are written down: a finished adapter is published, and one line tells it."""

import json
from datetime import timedelta

import pytest

from oncetune.postgres import connect
from oncetune.trainer import results as room
from tests.deadline import eventually
from tests.ledger.given import claim, record
from tests.loglines import captured_lines
from tests.trainer.conftest import told
from tests.trainer.rows import the_run
from tests.trainer.working import working


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("record.json", None),
        ("record.json", "{"),
        ("record.json", '{"metrics": {}, "base_model": "secret"}'),
        ("record.json", " " * (64 * 1024 * 1024 + 1)),
        ("adapter/adapter_model.safetensors", None),
    ],
    ids=["missing", "broken", "incomplete", "too large", "no weights"],
)
def test_without_a_record_or_weights_there_are_no_results_and_one_line_says_so(engine, results, folder, name, content):
    record(engine("trigger"))
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    with captured_lines() as lines:
        assert results(claim(engine("trainer"))).write() is None
    assert [line["event"] for line in told(lines)] == ["results.none"]
    assert "secret" not in json.dumps(told(lines))
    assert not (folder / "results").exists()


@pytest.mark.parametrize("broken", ["read_facts", "source_sha256", "_report"])
def test_a_bug_in_what_is_told_costs_no_finished_adapter(engine, database_url, tmp_path, monkeypatch, broken):
    run_id, owner = record(engine("trigger")).run_id, engine(None)

    def fail(*_given, **_named):
        raise FileNotFoundError("gone meanwhile") if broken == "source_sha256" else KeyError("a bug")

    monkeypatch.setattr(room, broken, fail)
    with captured_lines() as lines, working(database_url, tmp_path, "reports") as trainer:
        trainer.go()
        eventually(lambda: the_run(owner).state == "completed", seconds=30)
    assert (the_run(owner).strikes, the_run(owner).manifest) == (0, None)
    assert (tmp_path / "artifacts" / str(run_id) / "1" / "adapter").exists()
    [said] = told(lines)
    assert said["event"] == ("results.none" if broken == "source_sha256" else "results.broken")


def test_a_report_that_takes_too_long_costs_only_itself(engine, results, folder):
    record(engine("trigger"))
    with captured_lines() as lines:
        manifest = results(claim(engine("trainer")), deadline=timedelta(milliseconds=1)).write()
    assert manifest is not None
    assert [line["event"] for line in told(lines)] == ["report.none"]
    assert not (folder / "results" / "report.html").exists()


def test_a_report_is_not_waited_for_by_an_attempt_that_has_to_end(engine, results, folder):
    record(engine("trigger"))
    with captured_lines() as lines:
        assert results(claim(engine("trainer")), must_stop=lambda seconds: True).write() is not None
    assert [line["reason"] for line in told(lines)] == ["the attempt has to end"]
    assert not (folder / "results" / "report.html").exists()


def test_a_report_that_cannot_be_rendered_costs_only_itself(engine, results, folder):
    record(engine("trigger"))
    (folder / "results" / "report.html").mkdir(parents=True)
    with captured_lines() as lines:
        assert results(claim(engine("trainer"))).write() is not None
    assert "exit status 1" in told(lines)[0]["reason"]
    assert (folder / "training.log").read_text().startswith("printed\nTraceback")


def test_a_database_that_is_away_is_asked_again_until_the_attempt_must_stop(engine, results, folder):
    record(engine("trigger"))
    lease = claim(engine("trainer"))
    away = connect("postgresql://nobody@127.0.0.1:1/nothing", role=None, pool_size=1)
    tries = iter([False, False, True])
    with captured_lines() as lines:
        assert results(lease, trainer=away, must_stop=lambda seconds: next(tries)).write() is None
    assert next(tries, "asked three times") == "asked three times"
    assert [line["event"] for line in told(lines)] == ["results.wait", "results.none"]


@pytest.mark.parametrize(("behaviour", "has_card"), [("reports", True), ("finishes", False), ("scribbles", False)])
def test_a_run_completes_with_or_without_its_report(engine, database_url, tmp_path, behaviour, has_card):
    run_id, owner = record(engine("trigger")).run_id, engine(None)
    with working(database_url, tmp_path, behaviour) as trainer:
        trainer.go()
        eventually(lambda: the_run(owner).state == "completed", seconds=30)
    published = tmp_path / "artifacts" / str(run_id) / "1" / "adapter"
    assert (published / "README.md").exists() is has_card
    assert (the_run(owner).manifest is not None) is has_card
