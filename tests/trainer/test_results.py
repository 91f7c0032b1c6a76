"""Manifest and report of a finished training, from its record and from what the ledger says of the run."""

import hashlib
from dataclasses import replace

import pytest

from oncetune.contracts.manifest import Manifest
from oncetune.contracts.progress import Progress
from oncetune.contracts.run_report import RunReport
from oncetune.contracts.training_record import Phase
from oncetune.ledger.ids import new_event_id
from oncetune.ledger.leases import EndReason, StrikeRule, end_lease, finish_run, renew_lease
from oncetune.postgres import transaction
from oncetune.sources import source_sha256
from tests.ledger.given import ADAPTER, ROWS, change, claim, record
from tests.loglines import captured_lines
from tests.report import reports
from tests.trainer.conftest import WEIGHTS, told


def report_of(folder) -> RunReport:
    return RunReport.model_validate_json((folder / "results" / "report.json").read_bytes())


def complete(engine, lease, manifest=None):
    with transaction(engine("trainer")) as session:
        finish_run(session, lease, event_id=new_event_id(), state="completed", **ADAPTER)
    if manifest is not None:
        change(
            engine(None),
            "UPDATE ledger.run SET manifest = CAST(:m AS jsonb) WHERE id = :id",
            m=manifest,
            id=lease.run_id,
        )


def test_the_manifest_says_what_it_takes_to_do_the_run_again(engine, results, folder):
    record(engine("trigger"))
    lease = claim(engine("trainer"))
    manifest = results(lease).write()
    training = reports.record()
    assert manifest == Manifest.model_validate_json((folder / "results" / "manifest.json").read_bytes())
    assert manifest.weights_sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert (manifest.run_id, manifest.seed, manifest.quality_gate) == (str(lease.run_id), 42, "warn")
    assert (manifest.dataset_sha256, manifest.dataset_rows) == (ROWS.sha256, 1)
    assert manifest.dataset_set_sha256 == ROWS.set_sha256
    assert manifest.hyperparameters["learning_rate"] == 2e-4  # a default, resolved
    assert (manifest.base_model_revision, manifest.packages) == (training.base_model_revision, training.packages)
    assert manifest.code_sha256 == source_sha256()
    assert len(manifest.platform) > 5


def test_the_report_is_rendered_and_the_adapter_has_its_card(engine, results, folder):
    record(engine("trigger"))
    with captured_lines() as lines:
        results(claim(engine("trainer"))).write((Phase(name="fetching", seconds=2.5),))
    assert told(lines) == []
    report = report_of(folder)
    assert (report.kb_id, report.exp_name, report.requested_model) == ("kb", "experiment", "zephyr")
    assert [phase.name for phase in report.phases][:2] == ["fetching", "loading"]
    assert report.training == reports.record()
    assert "<title>experiment" in (folder / "results" / "report.html").read_text()
    assert (folder / "adapter" / "README.md").read_text().startswith("---\n")


def test_the_report_tells_of_every_attempt_and_of_the_duplicates(engine, results, folder):
    run_id = record(engine("trigger")).run_id
    first = claim(engine("trainer"), "one")
    with transaction(engine("trainer")) as session:
        end_lease(session, run_id, first.attempt, reason=EndReason.RELEASED, rule=StrikeRule())
    second = claim(engine("trainer"), "two")
    with transaction(engine("trainer")) as session:
        renew_lease(session, second, progress=Progress(step=8, steps=9, resumed_from_step=7), as_event=True)
    counted = (
        "INSERT INTO audit.delivery (event_id, outcome, run_id, count) VALUES (gen_random_uuid(), :how, :id, :count)"
    )
    for how, count in (("duplicate", 3), ("duplicate", 2), ("invalid", 10)):
        change(engine(None), counted, how=how, id=run_id, count=count)
    results(second).write()
    report = report_of(folder)
    attempts = [(fact.attempt, fact.worker, fact.ended, fact.resumed_from_step) for fact in report.attempts]
    assert attempts == [(1, "one", "released", None), (2, "two", "completed", 7)]
    assert all(fact.started_at <= fact.ended_at for fact in report.attempts)
    assert report.duplicates_dropped == 5


def test_attempts_whose_events_were_swept_leave_the_current_one(engine, results, folder):
    record(engine("trigger"))
    lease = claim(engine("trainer"))
    change(engine(None), "DELETE FROM ledger.outbox")
    results(lease).write()
    assert [(fact.attempt, fact.worker) for fact in report_of(folder).attempts] == [(1, "worker")]


def test_the_report_says_where_the_rows_came_from_and_never_its_secrets(engine, results, folder):
    run_id = record(engine("trigger")).run_id
    url = "https://ann:secret@data.example.org/rows.jsonl?signature=secret#secret"
    told = "dataset_format = 'openai', dataset_notes = '[\"One.\", \"Two.\"]'"
    change(engine(None), f"UPDATE ledger.run SET dataset_url = :url, {told} WHERE id = :id", url=url, id=run_id)
    quality = reports.QUALITY.model_dump_json()
    change(engine(None), "UPDATE ledger.run SET quality = CAST(:quality AS jsonb)", quality=quality)
    results(claim(engine("trainer"))).write()
    report = report_of(folder)
    assert (report.dataset.source, report.dataset.url) == ("url", "https://data.example.org/rows.jsonl")
    assert (report.dataset.format, report.dataset.notes) == ("openai", ("One.", "Two."))
    assert report.quality == reports.QUALITY
    for path in folder.rglob("*"):
        assert not path.is_file() or b"secret" not in path.read_bytes()


def test_the_report_names_the_runs_of_this_user_that_trained_on_the_same_rows(engine, results, folder):
    earlier = record(engine("trigger"), "first").run_id
    complete(engine, claim(engine("trainer")))
    record(engine("trigger"), "of another user", user_id="bob")
    complete(engine, claim(engine("trainer")))
    record(engine("trigger"), "now")
    results(claim(engine("trainer"))).write()
    assert report_of(folder).dataset.trained_before == (str(earlier),)


def test_a_run_that_repeats_another_says_what_was_different(engine, results, folder):
    parent = record(engine("trigger"), "parent").run_id
    lease = claim(engine("trainer"))
    before = results(lease).write()
    other = before.model_copy(update={"packages": {**before.packages, "trl": "1.0"}, "seed": 7})
    complete(engine, lease, other.model_dump_json())
    record(engine("trigger"), "child")
    change(engine(None), "UPDATE ledger.run SET parent_run_id = :parent WHERE kb_id = 'child'", parent=parent)
    manifest = results(claim(engine("trainer"))).write()
    assert manifest.parent_run_id == str(parent)
    assert report_of(folder).differs_from_parent == {"packages.trl": ("1.0", "1.16.0"), "seed": ("7", "42")}


@pytest.mark.parametrize("manifest", [None, "{}", '{"manifest_version": 2}'])
def test_what_differs_from_a_parent_without_a_manifest_that_can_be_read_is_not_known(engine, results, folder, manifest):
    parent = record(engine("trigger"), "parent").run_id
    complete(engine, claim(engine("trainer")), manifest)
    record(engine("trigger"), "child")
    change(engine(None), "UPDATE ledger.run SET parent_run_id = :parent WHERE kb_id = 'child'", parent=parent)
    assert results(claim(engine("trainer"))).write() is not None
    assert report_of(folder).differs_from_parent is None


def test_a_recipe_of_the_version_before_has_a_manifest_too(engine, results, folder):
    record(engine("trigger"))
    lease = claim(engine("trainer"))
    old = {name: value for name, value in lease.recipe.items() if name in ("algo", "base_model", "dataset_sha256")}
    manifest = results(replace(lease, recipe={**old, "recipe_version": 1, "hyperparameters": {"beta": 0.2}})).write()
    assert (manifest.hyperparameters["beta"], manifest.hyperparameters["epochs"]) == (0.2, 1)
    assert manifest.hyperparameters["held_out_share"] == 0, "such a run holds nothing out"
