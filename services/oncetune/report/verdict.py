"""What the numbers of a run mean, in sentences: what was done, whether it learned, whether to trust that.

Held-out rows decide. An accuracy of 1.0 is no proof by itself: DPO may widen margins by making both answers unlikely,
until the text is broken. So the log-probability of chosen is held against its start as well.
"""

import math
from dataclasses import dataclass
from typing import Literal

from oncetune.contracts.run_report import RunReport
from oncetune.contracts.training_record import Evaluation, TrainingRecord
from oncetune.report.thinning import last_mean
from oncetune.report.words import change, cut, duration, number, percent, plural

LAST_STEPS = 10  # a single batch is a noisy witness of how a run ended
_Z = 1.96  # standard errors: 95 %
_CHANCE = 0.5
_FEW_ROWS = 30  # held out: the interval is wider than a third
# Nats a token that chosen may fall: then each token has three quarters, a third of its probability.
_LESS_LIKELY, _BROKEN = 0.3, 1.0
_LONGEST_NAME = 60
_GAP = 0.2  # of the accuracy on training rows above that on held-out ones


@dataclass(frozen=True)
class Verdict:
    """`tone` is for the eye; `word` says the same."""

    tone: Literal["good", "caution", "bad"]
    word: str
    sentences: tuple[str, ...]
    reservations: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeldOut:
    """The held-out rows before training and with the adapter that was kept."""

    start: Evaluation
    end: Evaluation

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of Wilson around the accuracy at the end."""
        share, rows = self.end.reward_accuracy, self.end.rows
        if share is None:
            return None
        centre = share + _Z**2 / (2 * rows)
        spread = _Z * math.sqrt(share * (1 - share) / rows + _Z**2 / (4 * rows**2))
        whole = 1 + _Z**2 / rows
        return max(0.0, (centre - spread) / whole), min(1.0, (centre + spread) / whole)

    @property
    def fall(self) -> float | None:
        """Nats a token by which chosen is less likely than at the start; negative: it is more likely."""
        before, after = self.start.logps_chosen_per_token, self.end.logps_chosen_per_token
        return None if before is None or after is None else before - after


@dataclass(frozen=True)
class Unused:
    """Rows of the dataset that were neither trained on nor held out, and why."""

    rows: int
    why: str


def unused_of(report: RunReport) -> Unused:
    """By what the record counted; a row with equal answers or over max_length is left out on both sides."""
    record = report.training
    rows = max(0, report.dataset.rows - record.rows_trained - record.rows_held_out)
    equal = _counted(record, "rows_dropped_equal", rows)
    too_long = _counted(record, "rows_dropped_too_long", rows - equal)
    not_reached = rows - equal - too_long
    reasons = (
        (equal, f"{number(equal)} with equal answers"),
        (too_long, f"{number(too_long)} too long"),
        (not_reached, f"{number(not_reached)} not reached in {plural(record.last_step, 'step')}"),
    )
    return Unused(rows, ", ".join(why for count, why in reasons if count))


def _counted(record: TrainingRecord, name: str, most: int) -> int:
    told = record.metrics.get(name)
    return min(most, told) if isinstance(told, int) else 0


def held_out_of(record: TrainingRecord) -> HeldOut | None:
    """None where nothing was measured on held-out rows, or only before or only after training."""
    evaluations = sorted(record.evaluations, key=lambda evaluation: evaluation.step)
    kept = [one for one in evaluations if record.adapter_step is None or one.step <= record.adapter_step]
    if len(kept) < 2 or kept[0].step != 0:
        return None
    return HeldOut(kept[0], kept[-1])


def judge(report: RunReport) -> Verdict:
    """The verdict of this run."""
    held_out = held_out_of(report.training)
    reservations = tuple(_reservations(report, held_out))
    tone, word = _tone(held_out, reservations)
    learned = _on_training_rows(report.training) if held_out is None else _on_held_out_rows(held_out)
    trust = () if held_out is None else _about_the_text(held_out)
    return Verdict(tone, word, (_what_was_done(report), learned, *trust), reservations)


def _tone(held_out: HeldOut | None, reservations: tuple[str, ...]) -> tuple[Literal["good", "caution", "bad"], str]:
    if held_out is None:
        return "caution", "Unproven: nothing was held out"
    if (held_out.fall or 0.0) > _BROKEN:
        return "bad", "The text is probably damaged"
    if held_out.interval is None:
        return "bad", "The weights may be broken"
    low, high = held_out.interval
    if high < _CHANCE:
        return "bad", "It did not learn the preference"
    if low <= _CHANCE:
        return "caution", "Unproven: too few held-out rows to tell"
    return ("caution", "It learned, with reservations") if reservations else ("good", "It learned")


def _what_was_done(report: RunReport) -> str:
    record = report.training
    rows = record.rows_trained or report.dataset.rows
    where = f" on {cut(record.device, _LONGEST_NAME)}" if record.device else ""
    time = f" in {duration(record.steps[-1].seconds)} of training" if record.steps else ""
    return (
        f"{cut(record.base_model, _LONGEST_NAME)} was tuned with DPO on {plural(rows, 'preference pair')}: "
        f"{plural(record.last_step, 'optimizer step')}{time}{where}."
    )


def _on_held_out_rows(held_out: HeldOut) -> str:
    end, interval = held_out.end, held_out.interval
    if interval is None:
        return f"On {plural(end.rows, 'held-out row')} the accuracy is no number: the weights may be broken."
    low, high = interval
    verdict = "better than chance" if low > _CHANCE else "too few rows to tell it from chance"
    if high < _CHANCE:
        verdict = "worse than chance"
    return (
        f"On {plural(end.rows, 'held-out row')}, which it never trained on, the tuned model prefers the chosen answer "
        f"in {percent(end.reward_accuracy)} of cases (95\u202f% interval {' to '.join(map(percent, interval))}; "
        f"chance is 50\u202f%), by a mean reward margin of {number(end.reward_margin)}: {verdict}."
    )


def _on_training_rows(record: TrainingRecord) -> str:
    accuracy = last_mean([step.reward_accuracy for step in record.steps], LAST_STEPS)
    margin = last_mean([step.reward_margin for step in record.steps], LAST_STEPS)
    return (
        f"On the rows that it trained on, it ended with an accuracy of {percent(accuracy)} and a reward margin of "
        f"{number(margin)}. How it does on other rows was not measured."
    )


def _about_the_text(held_out: HeldOut) -> tuple[str, ...]:
    if held_out.fall is None:
        return ()
    numbers = (
        f"{change(held_out.start.logps_chosen_per_token)} to {change(held_out.end.logps_chosen_per_token)} nats a token"
    )
    if held_out.fall <= 0:
        return (f"The chosen answers became more likely ({numbers}), so nothing suggests that its text suffered.",)
    if held_out.fall <= _LESS_LIKELY:
        return (f"The chosen answers kept about their likelihood ({numbers}), so its text should be intact.",)
    worse = "a wide margin may come from text that gets worse. Read the samples."
    return (f"The chosen answers became less likely ({numbers}): {worse}",)


def _reservations(report: RunReport, held_out: HeldOut | None) -> list[str]:
    """What speaks against relying on the numbers, the gravest first."""
    found = [report.training.stopped_early] if report.training.stopped_early else []
    if report.quality is not None and report.quality.errors:
        codes = ", ".join(finding.code for finding in report.quality.errors[:5])
        found.append(f"The dataset has {plural(len(report.quality.errors), 'grave finding')}: {codes}.")
    if held_out is None:
        return found
    if (held_out.fall or 0.0) > _LESS_LIKELY:
        found.append("The chosen answers became clearly less likely than they were before training.")
    if held_out.end.rows < _FEW_ROWS:
        found.append(f"Only {plural(held_out.end.rows, 'row')} were held out: the interval is wide.")
    kept = held_out.end.step  # after an early stop there are steps beyond it
    trained = last_mean([step.reward_accuracy for step in report.training.steps if step.step <= kept], LAST_STEPS)
    measured = held_out.end.reward_accuracy
    if trained is not None and measured is not None and trained - measured > _GAP:
        found.append(
            f"The accuracy is {percent(trained)} on training rows but {percent(measured)} on held-out ones: "
            "it learned rows by heart."
        )
    return found
