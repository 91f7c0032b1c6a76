"""When a training is ended since its text falls apart, and which adapter then is the result.

Margins alone prove nothing: DPO may widen them by making both answers unlikely, chosen a little less so, until the
model writes rubbish with a reward accuracy of 1.0. Two numbers of the held-out rows together show it.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from oncetune.contracts.training_record import Evaluation
from oncetune.training.refusal import Refusal

HEALTHY_NAME = "healthy.safetensors"  # the adapter of the last evaluation that was in order
MARGIN_BOUND = 5.0
FALL_BOUND = 0.5  # nats a token


def is_known(evaluation: Evaluation) -> bool:
    """Whether its numbers are numbers: of a model that is none any more they say nothing."""
    return None not in (evaluation.logps_chosen_per_token, evaluation.reward_margin)


def falls_apart(start: Evaluation, now: Evaluation) -> bool:
    """Whether margins have run away while chosen became far less likely, token by token, than at the start."""
    numbers = (start.logps_chosen_per_token, now.logps_chosen_per_token, now.reward_margin)
    if None in numbers:
        return False
    before, after, margin = (number for number in numbers if number is not None)
    return margin > MARGIN_BOUND and before - after > FALL_BOUND


class EarlyStop:
    """Judges each evaluation and keeps the adapter of the last one that was in order, in the CPU's memory.

    `reason` is the sentence that says why training ends here; None as long as it goes on.
    """

    def __init__(self, *, wanted: bool) -> None:
        self._wanted = wanted
        self.reason: str | None = None
        self.kept_step = 0  # 0: none yet, the adapter still has no effect
        self._kept: dict[str, torch.Tensor] = {}

    def judge(self, evaluations: Sequence[Evaluation], model: PeftModel) -> None:
        """Look at the newest. Raises Refusal when the text fell apart before any evaluation that was in order."""
        if not self._wanted:
            return
        start, now = evaluations[0], evaluations[-1]
        if not falls_apart(start, now):
            if now.step > 0 and is_known(now):
                self.kept_step = now.step
                self._kept = {name: tensor.detach().cpu().clone() for name, tensor in _adapter(model).items()}
            return
        what = (
            f"The text falls apart: at step {now.step} the held-out reward margin was {now.reward_margin:.1f}, but the "
            f"log-probability of chosen had gone from {start.logps_chosen_per_token:.2f} to "
            f"{now.logps_chosen_per_token:.2f} nats a token."
        )
        advice = "Lower learning_rate, raise beta, or add sft to loss_type"
        if self.kept_step == 0:
            raise Refusal("text_falls_apart", f"{what} No evaluation before was in order. {advice}.")
        self.reason = f"{what} Training ended there, and the adapter is that of step {self.kept_step}. {advice}."

    def restore(self, model: PeftModel) -> None:
        """Bring back the adapter that was kept."""
        with torch.no_grad():
            for name, tensor in _adapter(model).items():
                tensor.copy_(self._kept[name])

    def keep(self, checkpoint: Path) -> None:
        """Write what `go_on` reads. Raises OSError or SafetensorError."""
        if self._kept:
            save_file(self._kept, checkpoint / HEALTHY_NAME)

    def go_on(self, checkpoint: Path, evaluations: Sequence[Evaluation]) -> None:
        """A training with a reason to end writes no checkpoint: every known evaluation of one was in order."""
        if (checkpoint / HEALTHY_NAME).exists():
            self._kept = load_file(checkpoint / HEALTHY_NAME)
            self.kept_step = next(one.step for one in reversed(evaluations) if is_known(one))


def _adapter(model: PeftModel) -> dict[str, torch.Tensor]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
