"""FOLDER/record.json: everything that this program knows of a run (contracts/training_record.py)."""

import platform
from importlib import metadata
from pathlib import Path

import torch
from pydantic import JsonValue

from oncetune.contracts.training_record import Phase, StepRecord, TrainingRecord
from oncetune.training.device import Device, hardware_name
from oncetune.training.dpo import Trained
from oncetune.training.held_out import Split
from oncetune.training.model import BaseModel
from oncetune.training.report import StepLog
from oncetune.training.samples import Sampled

MOST_STEPS = 10_000  # of a record: 2 MB; more of them no plot shows
# What decides which numbers are computed.
_PACKAGES = (
    "torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "safetensors", "numpy",
)  # fmt: skip


def describe_run(
    trained: Trained, split: Split, base: BaseModel, device: Device, metrics: dict[str, JsonValue], *, rows_trained: int
) -> TrainingRecord:
    """The record without samples and times, which come last."""
    return TrainingRecord(
        metrics=metrics,
        steps=thin(trained.report.steps),
        evaluations=tuple(trained.evaluations),
        stopped_early=trained.stopped_early,
        adapter_step=trained.adapter_step,
        rows_trained=rows_trained,
        rows_held_out=len(split.held_out),
        base_model=base.name,
        base_model_revision=base.revision,
        packages={name: metadata.version(name) for name in _PACKAGES},
        device=hardware_name(device),
        device_kind=device.name,
        precision=device.precision,
        threads=torch.get_num_threads(),
        python=platform.python_version(),
    )


def write_record(path: Path, record: TrainingRecord, sampled: Sampled, phases: tuple[Phase, ...]) -> None:
    """Whole, with what was known last."""
    last = {"samples": sampled.samples, "samples_missing": sampled.missing, "phases": phases}
    path.write_text(record.model_copy(update=last).model_dump_json())


def thin(steps: list[StepLog]) -> tuple[StepRecord, ...]:
    """All steps, or every n-th of them and the last, so that no more than MOST_STEPS are left."""
    apart = -(-len(steps) // MOST_STEPS)
    numbered = list(enumerate(steps, start=1))
    kept = numbered[:: -max(1, apart)][::-1]  # counted from the last
    return tuple(StepRecord(step=number, **vars(step)) for number, step in kept)
