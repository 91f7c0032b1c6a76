"""What a finished run tells of itself: finite numbers and short words."""

import math
from importlib import metadata

from pydantic import JsonValue

from oncetune.training.device import Device
from oncetune.training.model import BaseModel
from oncetune.training.report import Report
from oncetune.training.rows import JudgedRows

_LIBRARIES = ("torch", "transformers", "trl", "peft")


def describe(
    report: Report, judged: JudgedRows, base: BaseModel, device: Device, trainable: int
) -> dict[str, JsonValue]:
    """The metrics of Finished; a number that is not finite is left out."""
    described: dict[str, JsonValue] = {
        **report.metrics(),
        "rows_total": judged.total,
        "rows_used": len(judged.pairs),
        "rows_dropped_too_long": judged.dropped_too_long,
        "max_length": judged.limit,
        "format": judged.form,
        "base_model": base.name,
        "base_model_revision": base.revision,
        "trainable_parameters": trainable,
        "device": device.name,
        "dtype": device.precision,
        **{f"{library}_version": metadata.version(library) for library in _LIBRARIES},
    }
    return {name: value for name, value in described.items() if not isinstance(value, float) or math.isfinite(value)}
