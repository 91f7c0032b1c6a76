"""The program as the trainer meets it: recipe and rows in, protocol lines, an adapter, an exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oncetune.contracts.progress import Finished, Progress, child_line
from oncetune.contracts.recipe import Hyperparameters, TrainingRecipe
from tests.training.runs import TEXT_ROWS, Outcome, environment, write_run

PROGRAM = [sys.executable, "-m", "oncetune.training"]


NOISY_LIBRARY = "import atexit, os; atexit.register(os.write, 1, b'a library talks\\n')"  # to descriptor 1 itself


def start(folder: Path, cache: Path, site: Path | None = None) -> subprocess.Popen[str]:
    variables = environment(cache)
    if site is not None:
        variables["PYTHONPATH"] = os.pathsep.join((str(site), variables["PYTHONPATH"]))
    return subprocess.Popen(
        [*PROGRAM, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables,
    )


def test_standard_output_holds_protocol_lines_only_and_the_last_is_finished(toy_model, model_cache, tmp_path):
    folder = write_run(tmp_path / "run", toy_model, TEXT_ROWS)
    (tmp_path / "sitecustomize.py").write_text(NOISY_LIBRARY)
    with start(folder, model_cache, site=tmp_path) as child:
        output = child.stdout.read()  # standard input stays open until here
        errors = child.stderr.read()
        assert child.wait(timeout=60) == 0, errors
    assert "a library talks" in errors
    lines = [child_line.validate_json(line) for line in output.splitlines()]
    assert [type(line) for line in lines] == [Progress] * (len(lines) - 1) + [Finished]
    phases = [line.phase for line in lines[:-1]]
    assert (phases[0], phases[1], phases[-1]) == ("loading", "training", "saving")
    files = sorted(path.name for path in (folder / "adapter").iterdir())
    assert files == ["adapter_config.json", "adapter_model.safetensors"]


def test_the_program_ends_when_its_standard_input_ends(toy_model, model_cache, tmp_path):
    folder = write_run(tmp_path / "run", toy_model, TEXT_ROWS, max_steps=100_000)
    with start(folder, model_cache) as child:
        steps = (child_line.validate_json(line) for line in child.stdout)
        next(line for line in steps if isinstance(line, Progress) and line.step > 2)
        child.stdin.close()
        assert child.wait(timeout=10) == 1
        child.stderr.read()
    assert not (folder / "adapter").exists()


def test_a_recipe_of_another_version_is_refused_before_anything_is_loaded(model_cache, tmp_path):
    folder = write_run(tmp_path / "run", "any", TEXT_ROWS)
    recipe = json.loads((folder / "recipe.json").read_text())
    (folder / "recipe.json").write_text(json.dumps({**recipe, "recipe_version": 3}))
    with start(folder, model_cache) as child:
        *_, last = child.stdout.read().splitlines()
        assert child.wait(timeout=30) == 3
        child.stderr.read()
    assert child_line.validate_json(last).code == "recipe_invalid"


def test_the_recipe_that_a_trigger_writes_can_be_read(tmp_path):
    recipe = TrainingRecipe(base_model="m", dataset_sha256="0" * 64, hyperparameters=Hyperparameters())
    assert TrainingRecipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_each_optimizer_step_is_reported_with_its_numbers(outcomes):
    steps = outcomes["text"].steps
    assert [(line.step, line.steps) for line in steps] == [(number, 8) for number in range(1, 9)]
    for line in steps:
        numbers = (line.loss, line.reward_margin, line.reward_accuracy, line.logps_chosen, line.learning_rate)
        assert None not in (*numbers, line.tokens_per_second, line.seconds_left)
    assert steps[-1].seconds_left == 0
    assert steps[-1].loss < steps[0].loss
    assert steps[-1].reward_margin > 0


def test_a_step_is_an_optimizer_step_whatever_the_accumulation(outcomes):
    assert len(outcomes["accumulated"].steps) == 2 * len(TEXT_ROWS) // 2  # two epochs of six rows, two rows a step


def test_the_metrics_are_finite_numbers_and_short_words(outcomes):
    metrics = outcomes["text"].metrics
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert all(isinstance(value, int | float | str | None) and len(str(value)) < 500 for value in metrics.values())
    assert metrics["rows_total"] == metrics["rows_used"] == len(TEXT_ROWS)
    assert metrics["steps"] == 8
    assert metrics["tokens"] > 0
    assert metrics["trainable_parameters"] > 0


def test_text_rows_train_a_chat_model_exactly_as_the_same_rows_sent_as_turns(outcomes):
    text, chat = outcomes["text"], outcomes["chat"]
    assert [line.loss for line in text.steps] == [line.loss for line in chat.steps]
    assert (text.metrics["format"], chat.metrics["format"]) == ("text_as_chat", "chat")


def test_scoring_answers_only_gives_the_losses_of_scoring_every_position(outcomes):
    compact, full = outcomes["text"].steps, outcomes["every_position"].steps
    assert [line.loss for line in compact] == pytest.approx([line.loss for line in full], rel=1e-4)
    assert [line.logps_chosen for line in compact] == pytest.approx([line.logps_chosen for line in full], rel=1e-4)


def test_the_library_version_that_the_compact_head_knows_is_the_installed_one():
    from importlib import metadata

    source = Path(__file__).parents[2] / "services" / "oncetune" / "training" / "dpo.py"
    assert f'"{metadata.version("trl")}"  # of TRL' in source.read_text()


def test_a_model_without_a_chat_template_learns_from_plain_text(outcomes):
    assert outcomes["plain"].metrics["format"] == "text"


REFUSALS = {
    "plain_chat": ("no_chat_template", "Row 7 is a conversation"),
    "endless": ("no_end_of_sequence", "6 of 6 answers"),
    "cut": ("base_model_unavailable", "weights"),
    "missing": ("base_model_unavailable", "config.json is missing"),
    "unknown": ("base_model_unavailable", "offline"),
    "wheel_without_model": ("base_model_unavailable", "0 GGUF files"),
    "not_a_number": ("non_finite_loss", "step 1"),
    "weightless": ("nothing_to_learn", "first 3 steps"),
    "all_warmup": ("nothing_to_learn", "warmup_steps"),
}


@pytest.mark.parametrize("run", REFUSALS)
def test_a_run_that_cannot_succeed_is_refused_with_its_reason(outcomes: dict[str, Outcome], run: str):
    code, words = REFUSALS[run]
    refused = outcomes[run].refused
    assert refused.code == code
    assert words in refused.message


def test_answers_of_base_and_tuned_model_come_side_by_side_and_in_order(outcomes):
    outcome = outcomes["answers"]
    assert outcome.exit == 0, outcome.stderr[-2000:]
    answers = json.loads((outcome.folder / "stdout").read_text())
    assert [len(answers["base"]), len(answers["tuned"])] == [3, 3]
    assert all(answers["base"])
    assert answers["base"] != answers["tuned"]
