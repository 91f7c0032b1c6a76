"""What a training run says of itself after each optimizer step, and when that must be its last."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from oncetune.contracts.progress import Progress
from oncetune.training.phases import Phases
from oncetune.training.refusal import Refusal

_STEPS_TO_MOVE = 3  # a gradient of zero in so many first steps never becomes another
_NO_GRADIENT = 1e-6  # norm; equal answers give 1e-8
_LAST_STEPS = 10  # a single batch is a noisy witness of how a run ended

LOSS, MARGIN, ACCURACY, CHOSEN = "loss", "rewards/margins", "rewards/accuracies", "logps/chosen"


@dataclass(frozen=True)
class StepLog:
    """The means of one optimizer step; tokens are real ones (no padding) of both sequences since the start."""

    loss: float
    reward_margin: float
    reward_accuracy: float
    logps_chosen: float
    grad_norm: float
    learning_rate: float
    tokens: int
    seconds: float  # of training, without evaluations, that of the attempts before included


class Report(TrainerCallback):
    """Sends a Progress for each step and raises Refusal for a run that broke or never moves."""

    def __init__(self, send: Callable[[Progress], None], phases: Phases) -> None:
        self.steps: list[StepLog] = []
        self._send = send
        self._phases = phases
        self._seconds_before = 0.0
        self._told = Progress()
        self._tokens_before = 0

    def go_on(self, steps: list[StepLog]) -> None:
        """These steps were made by an attempt before: what follows counts on from them."""
        self.steps = steps
        self._tokens_before = steps[-1].tokens
        self._seconds_before = steps[-1].seconds
        self._told = Progress(step=len(steps), resumed_from_step=len(steps), checkpoint_step=len(steps))

    def keep(self, step: int) -> None:
        """Tell that the checkpoint of `step` is sealed."""
        self._tell(self._told.model_copy(update={"checkpoint_step": step}))

    def parts(self, phase: Literal["evaluating", "sampling"]) -> Callable[[], None]:
        """To be called after each part of this phase: a trainer that hears of no other gives the child up."""
        count = itertools.count(1)

        def told() -> None:
            self._send(self._told.model_copy(update={"phase": phase, "part": next(count)}))

        return told

    def _tell(self, progress: Progress) -> None:
        self._told = progress
        self._send(progress)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._tell(self._told.model_copy(update={"steps": state.max_steps}))

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any], **_: Any
    ) -> None:
        if LOSS not in logs:
            return  # the summary at the end
        step = StepLog(
            logs[LOSS], logs[MARGIN], logs[ACCURACY], logs[CHOSEN], logs["grad_norm"], logs["learning_rate"],
            self._tokens_before + logs["num_tokens"], self._seconds_before + self._phases.seconds("training"),
        )  # fmt: skip
        self.steps.append(step)
        self._refuse_broken(step, state.global_step)
        self._refuse_still(state)
        self._tell(self._progress(step, state))

    def _progress(self, step: StepLog, state: TrainerState) -> Progress:
        before = self.steps[-2] if len(self.steps) > 1 else None
        seconds = step.seconds - (before.seconds if before else 0.0)
        tokens = step.tokens - (before.tokens if before else 0)
        return Progress(
            step=state.global_step,
            steps=state.max_steps,
            loss=step.loss,
            reward_margin=step.reward_margin,
            reward_accuracy=step.reward_accuracy,
            logps_chosen=step.logps_chosen,
            learning_rate=step.learning_rate,
            tokens_per_second=tokens / seconds if seconds > 0 else None,
            seconds_left=step.seconds / state.global_step * (state.max_steps - state.global_step),
            resumed_from_step=self._told.resumed_from_step,
            checkpoint_step=self._told.checkpoint_step,
        )

    def _refuse_broken(self, step: StepLog, number: int) -> None:
        for name, value in (("loss", step.loss), ("gradient", step.grad_norm)):
            if not math.isfinite(value):
                raise Refusal(
                    "non_finite_loss",
                    f"At step {number} the {name} became {value}: the weights are lost. Lower learning_rate "
                    f"(it was {step.learning_rate:.3g}) or raise beta.",
                )

    def _refuse_still(self, state: TrainerState) -> None:
        enough = state.global_step == min(_STEPS_TO_MOVE, state.max_steps)
        if enough and max(step.grad_norm for step in self.steps) < _NO_GRADIENT:
            raise Refusal(
                "nothing_to_learn",
                f"The gradient of the first {len(self.steps)} steps is zero (below {_NO_GRADIENT}): no loss with a "
                "weight above 0 depends on the adapter. Look at loss_weights and at how chosen and rejected differ.",
            )

    def metrics(self) -> dict[str, float | int]:
        """How the run went: means over its last ten steps, and the log-probability of chosen from first to last.

        A margin that grows while `logps_chosen` falls far means that the text itself is getting worse.
        """
        last = self.steps[-_LAST_STEPS:]
        return {
            "loss": self.steps[-1].loss,
            "loss_first": self.steps[0].loss,
            "reward_margin": fmean(step.reward_margin for step in last),
            "reward_accuracy": fmean(step.reward_accuracy for step in last),
            "logps_chosen": fmean(step.logps_chosen for step in last),
            "logps_chosen_first": self.steps[0].logps_chosen,
            "steps": len(self.steps),
            "tokens": int(self.steps[-1].tokens),
            "train_seconds": round(self.steps[-1].seconds, 3),
        }
