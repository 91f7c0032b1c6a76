"""How well the policy tells chosen from rejected on rows that it is not trained on.

The library's own evaluation weighs batches and not rows, and needs a second pass for the reference each time. Here
the reference is scored once, at step 0, where it is the policy (an adapter begins without effect), and is kept in
the checkpoints. So an evaluation costs one forward pass of the held-out rows.

When: at step 0, at the last step, and between them at most four times, at least ten steps apart, and seldom enough
that the evaluations between take at most about a tenth of training's time: a row that is trained on passes three
times as much through the model (policy and reference forwards, and once backwards) as one that is evaluated. That
depends on the recipe and the dataset alone, so an attempt that goes on from a checkpoint evaluates at the same steps.
"""

import json
from dataclasses import dataclass
from math import ceil, isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from peft import PeftModel
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from oncetune.contracts.recipe import Hyperparameters
from oncetune.contracts.training_record import Evaluation
from oncetune.training.early_stop import EarlyStop
from oncetune.training.phases import Phases
from oncetune.training.report import Report
from oncetune.training.rows import TokenPair
from oncetune.training.scoring import Sequenced, score

EVALUATIONS_NAME = "evaluations.json"
_PARTS = 5  # of a run, at most: each ends with an evaluation
_FEWEST_STEPS = 10
_MOST_OF_THE_TIME = 0.1
_COST = 1 / 3  # of an evaluated row, in trained ones


@dataclass(frozen=True)
class Scores:
    """Log-probabilities of the held-out answers, one of each a row."""

    chosen: list[float]
    rejected: list[float]


def steps_between(steps: int, held_out: int, rows_a_step: int) -> int:
    """Optimizer steps from one evaluation to the next."""
    affordable = ceil(held_out * _COST / (_MOST_OF_THE_TIME * rows_a_step))
    return max(_FEWEST_STEPS, ceil(steps / _PARTS), affordable)


def summarize(step: int, policy: Scores, reference: Scores, pairs: list[TokenPair], beta: float) -> Evaluation:
    """Means over the rows. A row's margin is beta·((πc - rc) - (πr - rr)), the DPO paper's difference of rewards."""
    rows = zip(policy.chosen, policy.rejected, reference.chosen, reference.rejected, strict=True)
    margins = [beta * ((chosen - was_chosen) - (rejected - was_rejected))
               for chosen, rejected, was_chosen, was_rejected in rows]  # fmt: skip
    mean_margin = _mean(margins)
    return Evaluation(
        step=step,
        rows=len(pairs),
        reward_accuracy=None if mean_margin is None else fmean(margin > 0 for margin in margins),
        reward_margin=mean_margin,
        logps_chosen=_mean(policy.chosen),
        logps_rejected=_mean(policy.rejected),
        logps_chosen_per_token=_mean(
            [total / len(pair.chosen) for total, pair in zip(policy.chosen, pairs, strict=True)]
        ),
    )


def _mean(numbers: list[float]) -> float | None:
    """None unless all of them are numbers: fmean raises for infinities of both signs."""
    return fmean(numbers) if all(map(isfinite, numbers)) else None


class HeldOut(TrainerCallback):
    """Evaluates at step borders, and ends a training whose text falls apart. Without held-out rows it does nothing."""

    def __init__(
        self, pairs: list[TokenPair], hyperparameters: Hyperparameters, report: Report, phases: Phases
    ) -> None:
        self._pairs = pairs
        self._beta = hyperparameters.beta
        self._batch = 2 * hyperparameters.batch_size  # sequences, as in a step of training
        self._rows_a_step = hyperparameters.batch_size * hyperparameters.gradient_accumulation
        self._report = report
        self._phases = phases
        self._reference: Scores | None = None
        self.early_stop = EarlyStop(wanted=hyperparameters.early_stop)
        self.evaluations: list[Evaluation] = []

    def go_on(self, checkpoint: Path) -> None:
        """What an attempt before had evaluated when it wrote this checkpoint."""
        if not self._pairs:
            return
        told = json.loads((checkpoint / EVALUATIONS_NAME).read_text())
        self.evaluations = [Evaluation.model_validate(evaluation) for evaluation in told["evaluations"]]
        self._reference = Scores(**told["reference"])
        self.early_stop.go_on(checkpoint, self.evaluations)

    def keep(self, checkpoint: Path) -> None:
        """Put beside the checkpoint's other files what `go_on` needs. Raises OSError or what safetensors does."""
        if self._reference is None:
            return
        told = {
            "evaluations": [evaluation.model_dump() for evaluation in self.evaluations],
            "reference": vars(self._reference),
        }
        (checkpoint / EVALUATIONS_NAME).write_text(json.dumps(told))
        self.early_stop.keep(checkpoint)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: PeftModel, **_: Any
    ) -> None:
        if self._pairs and self._reference is None:
            self._reference = self._score(model)
            self._evaluated(0, self._reference, self._reference, model)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: PeftModel, **_: Any
    ) -> None:
        if self._reference is None or not self._is_time(state.global_step, state.max_steps):
            return
        self._evaluated(state.global_step, self._score(model), self._reference, model)
        if self.early_stop.reason is not None:
            control.should_training_stop = True

    def _is_time(self, step: int, steps: int) -> bool:
        every = steps_between(steps, len(self._pairs), self._rows_a_step)
        return step == steps or (step % every == 0 and steps - step >= every // 2)  # none shortly before the last

    def _evaluated(self, step: int, policy: Scores, reference: Scores, model: PeftModel) -> None:
        self.evaluations.append(summarize(step, policy, reference, self._pairs, self._beta))
        self.early_stop.judge(self.evaluations, model)

    def _score(self, model: PeftModel) -> Scores:
        chosen = [Sequenced(pair.prompt, pair.chosen) for pair in self._pairs]
        rejected = [Sequenced(pair.prompt, pair.rejected) for pair in self._pairs]
        with self._phases.timed("evaluating"):
            scored = self._report.parts("evaluating")
            sums = score(model, chosen + rejected, batch=self._batch, scored=scored)
        return Scores(sums[: len(chosen)], sums[len(chosen) :])
