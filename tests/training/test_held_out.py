"""Rows are held out by prompt, the same in every attempt, and numbers over them weigh rows."""

import hashlib

import pytest
import torch
from torch.nn import Linear

from oncetune.contracts.preferences import PreferencePair
from oncetune.contracts.recipe import Hyperparameters
from oncetune.contracts.split import held_out_prompts, prompt_key
from oncetune.contracts.training_record import Evaluation
from oncetune.training.dpo import Trained
from oncetune.training.early_stop import FALL_BOUND, MARGIN_BOUND, EarlyStop, falls_apart
from oncetune.training.evaluation import Scores, steps_between, summarize
from oncetune.training.held_out import split_rows
from oncetune.training.metrics import _held_out
from oncetune.training.record import MOST_STEPS, thin
from oncetune.training.report import StepLog
from oncetune.training.rows import JudgedRows, TokenPair
from tests.training.runs import CHAT_ROWS, MANY_ROWS

KNOBS = Hyperparameters(held_out_share=0.4, samples=3)
PAIRS = [PreferencePair.model_validate(row) for row in MANY_ROWS]


def ids(number: int) -> TokenPair:
    return TokenPair(prompt=[number] * (number + 1), chosen=[1], rejected=[2])


def split(pairs, knobs=KNOBS, *, fitting=None, longest_sample=1000):
    numbers = [number for number in range(len(pairs)) if fitting is None or number in fitting]
    pairs_of_ids = [ids(number) for number in numbers]
    judged = JudgedRows(
        pairs_of_ids, numbers, total=len(pairs), dropped_equal=0, dropped_too_long=0, limit=1000, form="text"
    )
    return split_rows(pairs, judged, knobs, longest_sample=longest_sample)


def drawn(pairs, knobs=KNOBS) -> set[int]:
    keys = [prompt_key(pair.prompt) for pair in pairs]
    held_out = held_out_prompts(keys, seed=knobs.seed, share=knobs.held_out_share, max_rows=knobs.held_out_max_rows)
    return {number for number, key in enumerate(keys) if key in held_out}


def test_the_held_out_rows_are_those_that_the_contract_draws_and_the_others_keep_their_order():
    parts = split(PAIRS)
    assert len(drawn(PAIRS)) == 10
    assert parts.held_out == [ids(number) for number in sorted(drawn(PAIRS))]
    assert parts.trained == [ids(number) for number in range(24) if number not in drawn(PAIRS)]


def test_rows_of_one_prompt_stay_together():
    pairs = [*PAIRS, *PAIRS]
    assert drawn(pairs) == drawn(PAIRS) | {number + 24 for number in drawn(PAIRS)}
    assert len(split(pairs).held_out) == 20


def test_a_prompt_is_the_same_as_text_and_as_one_turn_of_the_user():
    turns = [{"role": "user", "content": PAIRS[0].prompt}]
    answers = [[{"role": "assistant", "content": said}] for said in "ab"]
    pair = PreferencePair.model_validate({"prompt": turns, "chosen": answers[0], "rejected": answers[1]})
    assert prompt_key(pair.prompt) == prompt_key(PAIRS[0].prompt)
    system = pair.model_copy(update={"prompt": (pair.prompt[0].model_copy(update={"role": "system"}),)})
    assert prompt_key(system.prompt) != prompt_key(PAIRS[0].prompt)


def test_a_prompt_with_more_rows_than_may_be_held_out_is_passed_over_and_the_next_ones_are_drawn():
    keys = [prompt_key(pair.prompt) for pair in PAIRS]
    first, second = sorted(drawn_keys(keys), key=lambda key: hashlib.sha256(f"{KNOBS.seed}:{key}".encode()).digest())[
        :2
    ]
    assert drawn_keys([*keys, *[first] * 64]) == drawn_keys(keys) - {first}
    assert drawn_keys([*keys, *[second] * 64]) == drawn_keys(keys) - {second}


def test_fewer_prompts_than_say_something_are_not_held_out_however_many_rows_they_have():
    keys = [prompt_key(f"What is {number} and {number}?") for number in range(200)] * 20
    assert drawn_keys(keys, max_rows=159) == frozenset()
    assert len(drawn_keys(keys, max_rows=160)) == 8


def drawn_keys(keys, *, max_rows=64) -> frozenset[str]:
    return held_out_prompts(keys, seed=KNOBS.seed, share=KNOBS.held_out_share, max_rows=max_rows)


def test_rows_over_the_limit_are_missing_on_their_side_and_change_nothing_else():
    gone = {min(drawn(PAIRS)), min(set(range(24)) - drawn(PAIRS))}
    whole, left = split(PAIRS), split(PAIRS, fitting=set(range(24)) - gone)
    assert left.held_out == [pair for pair in whole.held_out if len(pair.prompt) - 1 not in gone]
    assert left.trained == [pair for pair in whole.trained if len(pair.prompt) - 1 not in gone]
    assert left.samples == [PAIRS[number].prompt for number in sorted(drawn(PAIRS) - gone)[:3]]


def test_nothing_is_held_out_of_a_set_with_too_few_prompts_or_where_nothing_would_be_left_to_train_on():
    assert split(PAIRS[:6]).held_out == []
    parts = split(PAIRS, fitting=drawn(PAIRS))
    assert (len(parts.trained), parts.held_out) == (10, [])


def test_samples_are_the_first_held_out_prompts_each_once_that_the_model_can_read():
    prompts = [PAIRS[number].prompt for number in sorted(drawn(PAIRS))]
    assert split(PAIRS).samples == prompts[:3]
    assert split([*PAIRS, *PAIRS], Hyperparameters(held_out_share=0.4, samples=32)).samples == prompts
    shortest = min(drawn(PAIRS)) + 1
    assert split(PAIRS, longest_sample=shortest).samples == prompts[:1]
    assert split(PAIRS, longest_sample=shortest - 1).samples == []


def test_without_held_out_rows_the_samples_are_trained_prompts():
    chat = [PreferencePair.model_validate(row) for row in CHAT_ROWS]
    assert split(chat).samples == [pair.prompt for pair in chat[:3]]


def test_an_evaluation_weighs_rows_and_a_tie_is_no_success():
    pairs = [TokenPair([1], [1, 1], [2]), TokenPair([1], [1], [2]), TokenPair([1], [1] * 4, [2])]
    reference = Scores([-4.0, -2.0, -8.0], [-1.0, -2.0, -3.0])
    policy = Scores([-2.0, -2.0, -9.0], [-3.0, -2.0, -3.0])
    told = summarize(7, policy, reference, pairs, beta=0.5)
    assert (told.step, told.rows) == (7, 3)
    assert told.reward_accuracy == pytest.approx(1 / 3)
    assert told.reward_margin == pytest.approx((0.5 * 4 + 0 - 0.5 * 1) / 3)
    assert (told.logps_chosen, told.logps_rejected) == (pytest.approx(-13 / 3), pytest.approx(-8 / 3))
    assert told.logps_chosen_per_token == pytest.approx((-1 - 2 - 2.25) / 3)


def test_an_evaluation_with_a_row_that_is_no_number_claims_no_accuracy():
    pairs = [TokenPair([1], [1], [2])] * 2
    told = summarize(3, Scores([-1.0, float("nan")], [-2.0, -2.0]), Scores([-1.5] * 2, [-1.5] * 2), pairs, beta=0.5)
    assert (told.reward_accuracy, told.reward_margin, told.logps_chosen) == (None, None, None)
    assert told.logps_rejected == -2


def test_rows_that_are_infinite_in_both_directions_have_no_mean():
    infinite, known = Scores([-float("inf"), -1.0], [-1.0, -float("inf")]), Scores([-1.0] * 2, [-1.0] * 2)
    told = summarize(3, infinite, known, [TokenPair([1], [1], [2])] * 2, beta=0.5)
    assert (told.reward_accuracy, told.reward_margin, told.logps_chosen, told.logps_rejected) == (None,) * 4


@pytest.mark.parametrize(
    ("steps", "held_out", "rows_a_step", "between"),
    [
        (1000, 32, 4, 200),  # a fifth of the run
        (18, 8, 8, 10),  # never sooner
        (100, 64, 4, 54),  # 64 rows cost as much as 22 trained ones: a tenth of 216
    ],
)
def test_evaluations_between_are_few_and_cost_at_most_a_tenth_of_the_training(steps, held_out, rows_a_step, between):
    assert steps_between(steps, held_out, rows_a_step) == between


@pytest.mark.parametrize(
    ("margin", "fall", "broken"),
    [
        (MARGIN_BOUND + 0.1, FALL_BOUND + 0.1, True),
        (MARGIN_BOUND - 0.1, FALL_BOUND + 0.1, False),  # it forgets, but not for the sake of a margin
        (MARGIN_BOUND + 0.1, FALL_BOUND - 0.1, False),
        (MARGIN_BOUND + 0.1, -FALL_BOUND - 0.1, False),  # chosen became likelier
        (None, FALL_BOUND + 0.1, False),
    ],
)
def test_text_falls_apart_where_the_margin_runs_away_and_chosen_became_unlikely(margin, fall, broken):
    start = Evaluation(step=0, rows=9, logps_chosen_per_token=-2.0)
    now = Evaluation(step=9, rows=9, reward_margin=margin, logps_chosen_per_token=-2.0 - fall)
    assert falls_apart(start, now) == broken


def test_an_adapter_whose_evaluation_is_no_number_is_never_the_one_that_is_kept(tmp_path):
    start, good, unknown, broken = (
        Evaluation(step=step, rows=9, reward_margin=margin, logps_chosen_per_token=logps)
        for step, margin, logps in [(0, 0.0, -2.0), (3, 1.0, -2.0), (6, None, None), (9, MARGIN_BOUND + 1, -9.0)]
    )
    model, judge = Linear(1, 1), EarlyStop(wanted=True)
    for count, weight in ((2, 0.25), (3, 0.5)):
        torch.nn.init.constant_(model.weight, weight)
        judge.judge([start, good, unknown][:count], model)
    judge.keep(tmp_path)
    later = EarlyStop(wanted=True)
    later.go_on(tmp_path, [start, good, unknown])
    for one in (judge, later):
        one.judge([start, good, unknown, broken], model)
        one.restore(model)
        assert (one.kept_step, model.weight.item()) == (3, 0.25)
        torch.nn.init.constant_(model.weight, 0.75)


def test_after_an_early_stop_the_numbers_are_those_of_the_adapter_that_was_kept():
    known = {step: Evaluation(step=step, rows=9, reward_margin=float(step)) for step in (0, 10, 30)}
    evaluations = [known[0], known[10], Evaluation(step=20, rows=9), known[30]]
    trained = Trained(model=None, report=None, evaluations=evaluations, stopped_early="It was.", adapter_step=10)
    assert trained.evaluation == known[10]
    assert _held_out(trained) == {"stopped_early": True, "adapter_step": 10, "held_out_margin": 10.0}


@pytest.mark.parametrize("count", [1, MOST_STEPS, MOST_STEPS + 2, 3 * MOST_STEPS + 7])
def test_a_record_keeps_every_step_or_evenly_fewer_and_always_the_last(count):
    kept = [step.step for step in thin([StepLog(0.5, 0, 0, 0, 0, 0, 1, 1.0)] * count)]
    assert len(kept) <= MOST_STEPS
    assert kept[-1] == count
    assert kept == list(range(kept[0], count + 1, -(-count // MOST_STEPS)))


def test_a_held_out_number_that_is_none_is_left_out_of_the_metrics():
    start = Evaluation(step=0, rows=9, reward_accuracy=0.0, reward_margin=0.0, logps_chosen=-3.0)
    now = Evaluation(step=9, rows=9, reward_accuracy=None, reward_margin=float("nan"), logps_chosen=-2.0)
    told = _held_out(Trained(model=None, report=None, evaluations=[start, now], stopped_early=None))
    assert told == {"held_out_logps_chosen": -2.0, "held_out_logps_chosen_start": -3.0}
