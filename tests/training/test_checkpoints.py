"""An interrupted training goes on from its last sealed checkpoint, and nobody can tell from its numbers."""

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from oncetune.artifacts.checkpoints import checkpoint_place, take_over
from oncetune.contracts.checkpoint import PLAN_NAME, CheckpointPlan, Origin, close_with_seal, sealed_steps
from oncetune.contracts.progress import STOPPED_EXIT, Finished, Progress, child_line
from oncetune.training.plan import beginning, libraries, read_plan
from tests.artifacts.given import folder_sha256
from tests.training.conftest import FALLING
from tests.training.runs import MANY_ROWS, Outcome, write_run
from tests.training.test_program import start

STEPS = 24
KNOBS = {
    "max_steps": STEPS,
    "learning_rate": 1e-2,
    "lora_dropout": 0.1,
    "batch_size": 4,
    "held_out_share": 0.4,
    "samples": 2,
}  # evaluated after 10 steps
SEALED_FOR_SURE = 12
RUN = uuid4()
ORIGIN = Origin(run_id=str(RUN), dataset_sha256="0" * 64, recipe_sha256="1" * 64)
# The adapter of the toy model fits into a file of this size, the optimizer's state does not.
SMALL_FILES = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, 80_000))
"""
TIMES = {"seconds_left", "tokens_per_second", "resumed_from_step", "checkpoint_step"}


def _attempt(folder: Path, model: Path, store: Path | None, number: int, every: float = 0, **knobs: Any) -> Path:
    """A folder as the trainer stages it, with dropout: the state of the random numbers matters, too."""
    write_run(folder, model, MANY_ROWS, **knobs or KNOBS)
    if store is not None:
        taken = take_over(store, RUN, number, ORIGIN)
        plan = CheckpointPlan(
            origin=ORIGIN,
            place=checkpoint_place(store, RUN, number),
            every_seconds=every,
            resume_from=taken and taken[0],
        )
        plan.place.mkdir(parents=True, exist_ok=True)
        (folder / PLAN_NAME).write_text(plan.model_dump_json())
    return folder


def _to_its_end(folder: Path, cache: Path) -> list[Any]:
    with start(folder, cache) as child:
        lines = [child_line.validate_json(line) for line in child.stdout]
        errors = child.stderr.read()
    assert isinstance(lines[-1], Finished), errors[-2000:]
    return lines


def _killed(folder: Path, cache: Path) -> list[Any]:
    """What it had said until then."""
    said: list[Any] = []
    with start(folder, cache) as child:
        while not said or (said[-1].checkpoint_step or 0) < SEALED_FOR_SURE:
            said.append(child_line.validate_json(child.stdout.readline()))
        child.kill()
        child.wait(10)
    return said


def _numbers(lines: list[Any]) -> dict[int, dict[str, Any]]:
    trained = (line for line in lines if isinstance(line, Progress) and line.phase == "training" and line.loss)
    return {line.step: line.model_dump(exclude=TIMES) for line in trained}


@dataclass(frozen=True)
class Interrupted:
    """What a first attempt had said and sealed when it was killed, and what the second made of it."""

    before: list[Any]
    sealed: dict[int, set[str]]
    seconds: float
    after: list[Any]
    folder: Path


@pytest.fixture(scope="module")
def undisturbed(toy_model: Path, model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], Path]:
    folder = _attempt(tmp_path_factory.mktemp("whole") / "attempt", toy_model, None, 1)
    return _to_its_end(folder, model_cache), folder


@pytest.fixture(scope="module")
def interrupted(toy_model: Path, model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    folder = tmp_path_factory.mktemp("interrupted")
    place = checkpoint_place(folder / "store", RUN, 1)
    before = _killed(_attempt(folder / "1", toy_model, folder / "store", 1), model_cache)
    sealed = {step: {path.name for path in (place / str(step)).iterdir()} for step in sealed_steps(place)}
    seconds = json.loads((place / str(max(sealed)) / "steps.json").read_text())[-1]["seconds"]
    after = _to_its_end(_attempt(folder / "2", toy_model, folder / "store", 2), model_cache)
    return Interrupted(before, sealed, seconds, after, folder / "2")


def test_a_killed_training_goes_on_to_the_last_digit(undisturbed, interrupted):
    whole, folder = undisturbed
    first, after = interrupted.after[0], _numbers(interrupted.after)
    resumed = max(interrupted.sealed)
    assert (first.phase, first.step, first.steps, first.resumed_from_step) == ("loading", resumed, STEPS, resumed)
    assert list(after) == list(range(resumed + 1, STEPS + 1)), "no step is made twice, none is left out"
    assert after == {step: told for step, told in _numbers(whole).items() if step > resumed}
    assert folder_sha256(interrupted.folder / "adapter") == folder_sha256(folder / "adapter")


def test_checkpoints_change_no_number(undisturbed, interrupted):
    before = _numbers(interrupted.before)
    assert before == {step: told for step, told in _numbers(undisturbed[0]).items() if step in before}


def test_progress_never_goes_backwards_and_tells_from_which_step_it_went_on(interrupted):
    told = [line for line in interrupted.after if isinstance(line, Progress)]
    steps = [line.step for line in told]
    assert steps == sorted(steps)
    assert {line.resumed_from_step for line in told if line.phase != "saving"} == {max(interrupted.sealed)}


def test_the_metrics_of_an_interrupted_training_are_of_the_whole_run(undisturbed, interrupted):
    whole, metrics = dict(undisturbed[0][-1].metrics), dict(interrupted.after[-1].metrics)
    assert whole.pop("train_seconds") > 0
    assert metrics.pop("train_seconds") > interrupted.seconds
    assert metrics == whole


def _record(folder: Path) -> dict[str, Any]:
    """Without its times."""
    record = Outcome(folder).record
    told = record.model_dump(exclude={"phases": True, "metrics": {"train_seconds"}, "steps": {"__all__": {"seconds"}}})
    assert [evaluation["step"] for evaluation in told["evaluations"]] == [0, 10, STEPS]
    return told


def test_the_record_of_an_interrupted_training_is_that_of_the_whole_run(undisturbed, interrupted):
    assert _record(interrupted.folder) == _record(undisturbed[1])


def test_an_attempt_that_went_on_still_has_the_adapter_from_before_the_text_fell_apart(
    outcomes, loud_model, model_cache, tmp_path
):
    _killed(_attempt(tmp_path / "1", loud_model, tmp_path / "store", 1, **FALLING), model_cache)
    after = _attempt(tmp_path / "2", loud_model, tmp_path / "store", 2, **FALLING)
    assert _to_its_end(after, model_cache)[-1].metrics["adapter_step"] == 10
    undisturbed = outcomes["falls_apart"]
    assert Outcome(after).record.evaluations == undisturbed.record.evaluations
    assert folder_sha256(after / "adapter") == folder_sha256(undisturbed.folder / "adapter")
    assert max(sealed_steps(checkpoint_place(tmp_path / "store", RUN, 2))) == 19, (
        "the broken step is worth no checkpoint"
    )


def test_only_the_newest_two_are_kept_and_hold_nothing_superfluous(interrupted):
    newest, *older = interrupted.sealed
    assert older == [newest - 1]
    assert interrupted.sealed[newest] == {
        "adapter_config.json", "adapter_model.safetensors", "evaluations.json", "healthy.safetensors", "optimizer.pt",
        "rng_state.pth", "scheduler.pt", "seal.json", "steps.json", "trainer_state.json",
    }  # fmt: skip


def test_told_to_stop_it_seals_a_checkpoint_at_the_next_step_and_says_so(toy_model, model_cache, tmp_path):
    folder = _attempt(tmp_path / "1", toy_model, tmp_path / "store", 1, every=3600)
    with start(folder, model_cache) as child:
        step = next(line.step for line in map(child_line.validate_json, child.stdout) if line.loss)
        child.send_signal(signal.SIGTERM)
        last = [child_line.validate_json(line) for line in child.stdout][-1]
        errors = child.stderr.read()
        assert child.wait(10) == STOPPED_EXIT, errors
    [sealed] = sealed_steps(checkpoint_place(tmp_path / "store", RUN, 1))
    assert step <= sealed < STEPS
    assert (last.step, last.checkpoint_step) == (sealed, sealed)
    assert not (folder / "adapter").exists()


def test_a_disk_that_is_full_costs_the_checkpoints_and_not_the_training(undisturbed, toy_model, model_cache, tmp_path):
    """A limit on the size of files stands for it: torch and safetensors meet it in their own ways."""
    folder = _attempt(tmp_path / "1", toy_model, tmp_path / "store", 1)
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SMALL_FILES)
    with start(folder, model_cache, site=site) as child:
        lines = [child_line.validate_json(line) for line in child.stdout]
        errors = child.stderr.read()
    assert isinstance(lines[-1], Finished), errors[-2000:]
    assert "could not be written" in errors
    assert sealed_steps(checkpoint_place(tmp_path / "store", RUN, 1)) == []
    assert _numbers(lines) == _numbers(undisturbed[0])


@pytest.mark.parametrize(("made_with", "step"), [(libraries(), 9), ({**libraries(), "torch": "1.0"}, 0)])
def test_a_checkpoint_of_other_library_versions_is_not_gone_on_from(tmp_path, capsys, made_with, step):
    checkpoint = tmp_path / "store" / "9"
    checkpoint.mkdir(parents=True)
    close_with_seal(checkpoint, ORIGIN, step=9, steps=STEPS, made_with=made_with)
    plan = CheckpointPlan(origin=ORIGIN, place=tmp_path / "store", every_seconds=30, resume_from=checkpoint)
    (tmp_path / PLAN_NAME).write_text(plan.model_dump_json())
    assert beginning(read_plan(tmp_path)).step == step
    assert ("other library versions" in capsys.readouterr().err) == (step == 0)
    assert checkpoint.exists() == (step == 9), "or it would stand before those that this training writes"
