"""What a finished run tells of itself: finite numbers and short words."""

import math
from importlib import metadata

from pydantic import JsonValue

from oncetune.contracts.recipe import Hyperparameters
from oncetune.training.device import Device
from oncetune.training.dpo import Trained, count_trainable
from oncetune.training.held_out import Split
from oncetune.training.model import BaseModel
from oncetune.training.rows import JudgedRows

_LIBRARIES = ("torch", "transformers", "trl", "peft")


def rows_reached(trained: Trained, split: Split, knobs: Hyperparameters) -> int:
    """How many rows were trained on; some of those on that side were not, where the first epoch did not end."""
    seen = len(trained.report.steps) * knobs.batch_size * knobs.gradient_accumulation
    return min(seen, len(split.trained))


def describe(
    trained: Trained, judged: JudgedRows, split: Split, base: BaseModel, device: Device, *, rows_trained: int
) -> dict[str, JsonValue]:
    """The metrics of Finished; a number that is not finite is left out."""
    described: dict[str, JsonValue] = {
        **trained.report.metrics(),
        **_held_out(trained),
        "rows_total": judged.total,
        "rows_used": len(judged.pairs),
        "rows_trained": rows_trained,
        "held_out_rows": len(split.held_out),
        "rows_dropped_equal": judged.dropped_equal,
        "rows_dropped_too_long": judged.dropped_too_long,
        "max_length": judged.limit,
        "format": judged.form,
        "base_model": base.name,
        "base_model_revision": base.revision,
        "trainable_parameters": count_trainable(trained.model),
        "device": device.name,
        "dtype": device.precision,
        **{f"{library}_version": metadata.version(library) for library in _LIBRARIES},
    }
    return {name: value for name, value in described.items() if not isinstance(value, float) or math.isfinite(value)}


def _held_out(trained: Trained) -> dict[str, JsonValue]:
    """Of the adapter that is the result; nothing where no row was held out, no number that is none."""
    told: dict[str, JsonValue] = {"stopped_early": True} if trained.stopped_early else {}
    if trained.evaluation is not None:
        told |= {
            "held_out_accuracy": trained.evaluation.reward_accuracy,
            "held_out_margin": trained.evaluation.reward_margin,
            "held_out_logps_chosen": trained.evaluation.logps_chosen,
            "held_out_logps_chosen_start": trained.evaluations[0].logps_chosen,
        }
    told["adapter_step"] = trained.adapter_step
    return {name: value for name, value in told.items() if value is not None}
