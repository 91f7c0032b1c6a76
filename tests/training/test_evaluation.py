"""What the program measures on held-out rows, what it answers, and that neither changes what it trains."""

import json
import subprocess
import sys

import pytest

from oncetune.contracts.progress import Progress
from tests.artifacts.given import folder_sha256
from tests.training.conftest import MANY_ROWS
from tests.training.runs import TEXT_ROWS, environment

# An adapter with effect and the plain definition beside it: one sequence at a time, all logits, in float32.
SCORES = """
import json, sys
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from trl.trainer.utils import add_fused_lm_head
from oncetune.training.dpo import score_completions_only
from oncetune.training.scoring import Sequenced, score

torch.manual_seed(1)
base = AutoModelForCausalLM.from_pretrained(sys.argv[1])
if sys.argv[2] == "answers only":
    score_completions_only()
add_fused_lm_head(base)
lora = LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False, lora_dropout=0.5)
model = get_peft_model(base, lora).train()
draw = lambda count: torch.randint(3, 40_000, (count,)).tolist()
sequences = [Sequenced(draw(prompt), draw(answer)) for prompt, answer in ((9, 1), (2, 30), (17, 5), (1, 8), (30, 2))]
batches = []

def plainly(sequence):
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([sequence.prompt + sequence.answer])).logits[0]
    chosen = logits.float().log_softmax(-1)[:-1].gather(1, torch.tensor(sequence.prompt + sequence.answer)[1:, None])
    return chosen[len(sequence.prompt) - 1 :].sum().item()

state = torch.get_rng_state()
policy = score(model, sequences, batch=2, scored=lambda: batches.append(1))
untouched = bool(model.training and torch.equal(state, torch.get_rng_state()))
with model.disable_adapter():
    reference = score(model, sequences, batch=2, scored=lambda: None)
model.eval()
told = [policy, [plainly(sequence) for sequence in sequences], reference]
with model.disable_adapter():
    told.append([plainly(sequence) for sequence in sequences])
print(json.dumps([*told, len(batches), untouched]))
"""


@pytest.mark.parametrize("head", ["answers only", "every position"])
def test_scores_are_the_sums_over_the_answers_tokens_and_scoring_leaves_no_trace(toy_model, tmp_path, head):
    command = [sys.executable, "-c", SCORES, str(toy_model), head]
    told = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    policy, plain_policy, reference, plain_reference, batches, untouched = json.loads(told.stdout)
    assert policy == pytest.approx(plain_policy, rel=1e-5)
    assert reference == pytest.approx(plain_reference, rel=1e-5)
    assert policy != pytest.approx(reference, rel=1e-3)
    assert (batches, untouched) == (3, True)


def test_held_out_rows_evaluations_and_samples_change_nothing_of_what_is_trained(outcomes):
    """The same rows sent without the held-out ones: dropout would show a single random number drawn between."""
    watched, plain = outcomes["held_out"], outcomes["others"]
    numbers = [(line.loss, line.reward_margin, line.logps_chosen) for line in watched.steps]
    assert numbers == [(line.loss, line.reward_margin, line.logps_chosen) for line in plain.steps]
    assert folder_sha256(watched.folder / "adapter") == folder_sha256(plain.folder / "adapter")


def test_evaluations_begin_with_the_base_model_and_end_with_the_result(outcomes):
    metrics, record = outcomes["held_out"].metrics, outcomes["held_out"].record
    assert (metrics["rows_used"], metrics["rows_trained"], metrics["held_out_rows"]) == (24, 14, 10)
    assert (record.rows_trained, record.rows_held_out) == (14, 10)
    first, last = record.evaluations
    assert (first.step, first.rows, first.reward_margin, first.reward_accuracy) == (0, 10, 0.0, 0.0)
    assert (last.step, last.rows) == (12, 10)
    assert first.logps_chosen_per_token == pytest.approx(-10.8, abs=0.3), "random weights, 49,152 tokens"
    assert last.reward_margin > 0.05
    told = {name: metrics[f"held_out_{name}"] for name in ("accuracy", "margin", "logps_chosen", "logps_chosen_start")}
    assert told == {
        "accuracy": last.reward_accuracy,
        "margin": last.reward_margin,
        "logps_chosen": last.logps_chosen,
        "logps_chosen_start": first.logps_chosen,
    }
    assert "stopped_early" not in metrics


def test_a_set_too_small_to_hold_rows_out_says_so_and_has_no_evaluation(outcomes):
    metrics, record = outcomes["text"].metrics, outcomes["text"].record
    assert (metrics["held_out_rows"], metrics["rows_trained"]) == (0, len(TEXT_ROWS))
    assert record.evaluations == ()
    assert "held_out_margin" not in metrics


def test_each_evaluated_batch_is_a_sign_of_life(outcomes):
    lines = [line for line in outcomes["held_out"].lines if isinstance(line, Progress)]
    places = [(line.phase, line.step, line.part) for line in lines]
    assert len(places) == len(set(places))
    evaluated = [place for place in places if place[0] == "evaluating"]
    assert evaluated == [("evaluating", step, part) for step in (0, 11) for part in range(1, 5)]
    assert sum(phase == "sampling" for phase, _, _ in places) == 2


def test_samples_are_held_out_prompts_answered_with_and_without_the_adapter(outcomes):
    samples = outcomes["held_out"].record.samples
    assert len(samples) == 3
    assert {sample.prompt for sample in samples} < {row["prompt"] for row in MANY_ROWS}
    assert all(sample.held_out for sample in samples)
    assert [sample.before for sample in samples] != [sample.after for sample in samples]
    assert outcomes["others"].record.samples == ()


def test_without_held_out_rows_trained_prompts_are_answered_conversations_too(outcomes):
    text, chat = outcomes["text"].record.samples, outcomes["chat"].record.samples
    assert [sample.prompt for sample in text] == [row["prompt"] for row in TEXT_ROWS[:4]]
    assert [sample.prompt for sample in chat] == [f"user: {row['prompt']}" for row in TEXT_ROWS[:4]]
    assert [sample.after for sample in chat] == [sample.after for sample in text]
    assert not any(sample.held_out for sample in text)


def test_a_finished_training_that_has_no_memory_left_for_samples_keeps_its_adapter(outcomes):
    outcome = outcomes["no_memory"]
    assert outcome.metrics["steps"] == 3
    assert (outcome.folder / "adapter" / "adapter_model.safetensors").exists()
    assert (outcome.record.samples, outcome.record.samples_missing) == ((), "can't allocate memory")
    assert "RuntimeError: can't allocate memory" in outcome.stderr


def test_the_record_tells_the_whole_run_and_where_it_was_made(outcomes):
    outcome = outcomes["held_out"]
    record = outcome.record
    assert record.metrics == outcome.metrics
    assert [(step.step, step.loss, step.learning_rate) for step in record.steps] == [
        (line.step, line.loss, line.learning_rate) for line in outcome.steps
    ]
    assert record.steps[-1].tokens == outcome.metrics["tokens"]
    assert {"torch", "trl", "peft", "transformers", "numpy"} < record.packages.keys()
    assert len(record.base_model_revision) == 64
    assert (record.device_kind, record.precision, record.stopped_early) == ("cpu", outcome.metrics["dtype"], None)
    assert record.device
    assert record.threads
    names = [phase.name for phase in record.phases]
    assert names == ["loading", "training", "evaluating", "saving", "sampling"]
    seconds = {phase.name: phase.seconds for phase in record.phases}
    assert seconds["training"] == pytest.approx(record.steps[-1].seconds, abs=0.5)


def test_a_training_whose_text_falls_apart_ends_with_the_adapter_that_was_still_in_order(outcomes):
    stopped, in_time = outcomes["falls_apart"], outcomes["in_time"]
    metrics, record = stopped.metrics, stopped.record
    assert metrics["stopped_early"] is True
    assert metrics["adapter_step"] == record.adapter_step == 10
    assert metrics["steps"] == record.evaluations[-1].step == 20
    assert "the adapter is that of step 10" in record.stopped_early
    assert folder_sha256(stopped.folder / "adapter") == folder_sha256(in_time.folder / "adapter")
    assert metrics["held_out_margin"] == in_time.metrics["held_out_margin"] < record.evaluations[-1].reward_margin
    assert record.samples == in_time.record.samples


def test_whoever_wants_no_early_stop_gets_the_whole_training(outcomes):
    metrics = outcomes["unwatched"].metrics
    assert (metrics["steps"], "stopped_early" in metrics) == (20, False)


def test_a_text_that_fell_apart_before_anything_was_in_order_is_no_result(outcomes):
    refused = outcomes["never_in_order"].refused
    assert refused.code == "text_falls_apart"
    assert "learning_rate" in refused.message


REACHED = """
import json
from types import SimpleNamespace as Given
from oncetune.training.metrics import rows_reached

knobs = Given(batch_size=3, gradient_accumulation=2)
trained = lambda steps: Given(report=Given(steps=[None] * steps))
print(json.dumps([rows_reached(trained(steps), Given(trained=[None] * 14), knobs) for steps in (1, 2, 3, 30)]))
"""


def test_rows_that_the_steps_did_not_reach_are_not_called_trained_on(tmp_path):
    command = [sys.executable, "-c", REACHED]
    told = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout) == [6, 12, 14, 14]
