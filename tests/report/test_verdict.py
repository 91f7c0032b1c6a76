"""The verdict: held-out rows decide, and a wide margin over broken text is no success."""

import pytest

from oncetune.contracts.quality import Finding, QualityReport
from oncetune.contracts.training_record import Evaluation
from oncetune.report.card import render_card
from oncetune.report.page import render_page
from oncetune.report.verdict import held_out_of, judge, unused_of
from oncetune.report.words import number
from tests.report import extremes, reports


def evaluated(accuracy=0.92, margin=2.7, token=-1.7, rows=48, start=-2.3, **fields):
    evaluations = (
        Evaluation(step=0, rows=rows, reward_accuracy=0.0, reward_margin=0.0, logps_chosen_per_token=start),
        Evaluation(step=160, rows=rows, reward_accuracy=accuracy, reward_margin=margin, logps_chosen_per_token=token),
    )
    return reports.report(reports.record(evaluations=evaluations, **fields))


@pytest.mark.parametrize(
    ("report", "tone", "word"),
    [
        (evaluated(), "good", "It learned"),
        (evaluated(accuracy=0.6), "caution", "Unproven: too few held-out rows to tell"),
        (evaluated(accuracy=1.0, rows=3), "caution", "Unproven: too few held-out rows to tell"),
        (evaluated(accuracy=0.2), "bad", "It did not learn the preference"),
        (evaluated(accuracy=0.0), "bad", "It did not learn the preference"),
        (evaluated(accuracy=None), "bad", "The weights may be broken"),
        (evaluated(accuracy=1.0, margin=13.5, token=-5.1), "bad", "The text is probably damaged"),
        (evaluated(token=-2.9), "caution", "It learned, with reservations"),
        (evaluated(rows=12), "caution", "It learned, with reservations"),
        (extremes.minimal(), "caution", "Unproven: nothing was held out"),
    ],
    ids=[
        "good",
        "weak",
        "three of three",
        "worse",
        "nothing",
        "nan",
        "broken",
        "less likely",
        "few rows",
        "nothing held out",
    ],
)
def test_the_verdict_goes_by_the_held_out_rows_and_the_likelihood_of_chosen(report, tone, word):
    verdict = judge(report)
    assert (verdict.tone, verdict.word) == (tone, word)
    assert 2 <= len(verdict.sentences) <= 3


@pytest.mark.parametrize(
    ("accuracy", "rows", "said"),
    [(0.92, 48, ": better than"), (1.0, 3, ": too few rows to tell it from"), (0.2, 48, ": worse than")],
)
def test_the_sentence_holds_the_accuracy_against_chance(accuracy, rows, said):
    assert f"{said} chance." in judge(evaluated(accuracy=accuracy, rows=rows)).sentences[1]


def test_a_grave_finding_on_the_data_is_a_reservation():
    quality = QualityReport(
        rows=9, findings=[Finding(code="contradictory_pairs", level="error", count=3, message="3 rows.")]
    )
    verdict = judge(evaluated().model_copy(update={"quality": quality}))
    assert verdict.tone == "caution"
    assert "contradictory_pairs" in verdict.reservations[0]


def test_rows_learned_by_heart_are_a_reservation():
    verdict = judge(evaluated(accuracy=0.7))
    assert "by heart" in verdict.reservations[-1]


def test_what_was_learned_by_heart_is_judged_up_to_the_kept_step():
    """Steps after it were thrown away: what they got right is in no adapter."""
    report = evaluated(accuracy=0.7)
    *steps, last = report.training.steps
    before = [step.model_copy(update={"reward_accuracy": 0.75}) for step in (*steps, last)]
    after = [last.model_copy(update={"step": step, "reward_accuracy": 1.0}) for step in range(161, 181)]
    broken = Evaluation(step=180, rows=48, reward_accuracy=1.0, reward_margin=12.0, logps_chosen_per_token=-6.0)
    told = {
        "steps": (*before, *after),
        "evaluations": (*report.training.evaluations, broken),
        "stopped_early": "It was.",
        "adapter_step": 160,
    }
    stopped = judge(report.model_copy(update={"training": report.training.model_copy(update=told)}))
    assert not any("by heart" in reservation for reservation in stopped.reservations)


def test_of_a_run_that_was_stopped_the_evaluation_of_the_kept_step_counts():
    """Not that before the last one: at step 170 nothing was a number."""
    unknown = Evaluation(step=170, rows=48)
    broken = Evaluation(step=180, rows=48, reward_accuracy=1.0, reward_margin=12.0, logps_chosen_per_token=-6.0)
    report = evaluated(steps=reports.steps_of(180))
    stop = {"stopped_early": "It was ended.", "adapter_step": 160}
    evaluations = (*report.training.evaluations, unknown, broken)
    record = report.training.model_copy(update={"evaluations": evaluations, **stop})
    assert held_out_of(record).end.step == 160
    stopped = report.model_copy(update={"training": record})
    assert judge(stopped).word == "It learned, with reservations"
    page = render_page(stopped)
    loss = f"<b>{number(record.steps[159].loss)}</b><span>first step {number(record.steps[0].loss)}"
    assert f"{loss}; the adapter is that of step 160" in page
    assert "<dt>Steps</dt><dd><b>180</b>" in page
    assert held_out_of(record.model_copy(update={"adapter_step": None})).end.step == 180


def test_the_interval_is_wilsons():
    """Known values: 44 of 48 is 80.4 % to 96.7 %; of ten successes in ten the lower end is 72.2 %."""
    low, high = held_out_of(evaluated(accuracy=44 / 48).training).interval
    assert (round(low, 3), round(high, 3)) == (0.804, 0.967)
    low, high = held_out_of(evaluated(accuracy=1.0, rows=10).training).interval
    assert (round(low, 3), round(high, 3)) == (0.722, 1.0)


def test_a_record_that_holds_some_of_the_steps_tells_how_many_there_were():
    thinned = reports.report(reports.record(steps=reports.steps_of(160)[1::2]))
    assert "160 optimizer steps" in " ".join(judge(thinned).sentences)
    assert "160 optimizer steps in" in render_card(thinned)
    page = render_page(thinned)
    assert "<dt>Steps</dt><dd><b>160</b>" in page
    assert "Some of the steps; more are in report.json." in page
    assert "all of them are in report.json" not in page


@pytest.mark.parametrize(
    ("trained", "equal", "too_long", "why"),
    [
        (432, 0, 0, ""),
        (400, 0, 0, "32 not reached in 160 steps"),
        (400, 0, 30, "30 too long, 2 not reached in 160 steps"),
        (400, 0, 32, "32 too long"),
        (400, 3, 20, "3 with equal answers, 20 too long, 9 not reached in 160 steps"),
        (400, 32, 0, "32 with equal answers"),
    ],
)
def test_rows_that_were_not_used_are_told_with_their_reason(trained, equal, too_long, why):
    metrics = {"rows_dropped_equal": equal, "rows_dropped_too_long": too_long}
    made = reports.report(reports.record(rows_trained=trained, rows_held_out=48, metrics=metrics))
    unused = unused_of(made)
    assert (unused.rows, unused.why) == (432 - trained, why)
    said = f"{unused.rows} not used ({why})"
    assert (said in render_page(made), said in render_card(made)) == (bool(why), bool(why))
