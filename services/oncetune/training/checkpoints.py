"""Checkpoints of the child: when one is due, how it is sealed, how a new attempt goes on (contracts/checkpoint.py)."""

import json
import logging
import shutil
import signal
import time
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from safetensors import SafetensorError
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from oncetune.contracts.checkpoint import KEPT, CheckpointPlan, close_with_seal, sealed_steps, sync
from oncetune.training.early_stop import HEALTHY_NAME
from oncetune.training.evaluation import EVALUATIONS_NAME, HeldOut
from oncetune.training.plan import libraries
from oncetune.training.report import Report, StepLog

CANNOT_WRITE = (OSError, SafetensorError, RuntimeError)  # the last is torch's word for a full disk
_STEPS_NAME = "steps.json"
# Of what the libraries write, what going on needs.
_NEEDED = ("adapter_config.json", "adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth",
           "trainer_state.json", _STEPS_NAME, EVALUATIONS_NAME, HEALTHY_NAME)  # fmt: skip
_MOST_OF_THE_TIME = 0.05  # that checkpoints may take, whatever the plan says

_log = logging.getLogger(__name__)


class ToldToStop(Exception):
    """The child was told to stop; its last checkpoint is sealed if the disk allowed it."""


class Checkpoints(TrainerCallback):
    """Saves at step borders: when it is time, and once more when SIGTERM came. Without a plan it does nothing.

    A checkpoint that cannot be written is a line in the training log and tried again later: training goes on.
    """

    def __init__(self, plan: CheckpointPlan | None, report: Report, held_out: HeldOut) -> None:
        self._plan = plan
        self._report = report
        self._held_out = held_out
        self._next = 0.0
        self._began = 0.0
        self._before: Any = None
        self.told_to_stop = False

    @property
    def arriving(self) -> Path | None:
        """Where half-written ones lie: beside their place, on the same disk."""
        return None if self._plan is None else self._plan.place / "arriving"

    def resume(self) -> str | None:
        """The checkpoint to go on from, for `Trainer.train`; the report then knows the steps before it."""
        if self._plan is None or self._plan.resume_from is None:
            return None
        folder = self._plan.resume_from
        self._report.go_on([StepLog(**step) for step in json.loads((folder / _STEPS_NAME).read_text())])
        self._held_out.go_on(folder)
        return str(folder)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._plan is not None:
            self._next = time.monotonic() + self._plan.every_seconds
            self._before = signal.signal(signal.SIGTERM, self._stop)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._plan is not None:
            signal.signal(signal.SIGTERM, self._before)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._plan is None or state.global_step >= state.max_steps or control.should_training_stop:
            return  # the adapter itself comes next
        control.should_training_stop = self.told_to_stop
        control.should_save = self.told_to_stop or time.monotonic() >= self._next
        self._began = time.monotonic()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        assert self._plan is not None
        written = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if written.is_dir():  # else it was given up already
            try:
                self._seal(written, state, self._plan)
                self._report.keep(state.global_step)
            except CANNOT_WRITE as error:
                self.give_up(error)
        self._wait(self._plan)

    def give_up(self, error: Exception) -> None:
        """Training is worth more than its checkpoint; what was half-written makes room."""
        _log.warning("The checkpoint could not be written, training goes on: %s", error)
        if self.arriving is not None:
            shutil.rmtree(self.arriving, ignore_errors=True)

    def _seal(self, written: Path, state: TrainerState, plan: CheckpointPlan) -> None:
        (written / _STEPS_NAME).write_text(json.dumps([asdict(step) for step in self._report.steps]))
        self._held_out.keep(written)
        for path in written.iterdir():
            if path.name not in _NEEDED:
                path.unlink()
        close_with_seal(written, plan.origin, step=state.global_step, steps=state.max_steps, made_with=libraries())
        written.rename(plan.place / str(state.global_step))
        sync(plan.place)
        for step in sealed_steps(plan.place)[KEPT:]:
            shutil.rmtree(plan.place / str(step), ignore_errors=True)

    def _wait(self, plan: CheckpointPlan) -> None:
        now = time.monotonic()
        pause = (now - self._began) / _MOST_OF_THE_TIME if plan.every_seconds else 0
        self._next = now + max(plan.every_seconds, pause)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.told_to_stop = True
