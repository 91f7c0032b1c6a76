"""The reproducibility manifest: everything that is needed to do a run again, and to say what was different."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue


class Manifest(BaseModel):
    """Written by the trainer with the result; `oncetune runs rerun` compares two of them, field by field."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    manifest_version: Literal[1] = 1
    run_id: str
    parent_run_id: str | None = None  # the run that this one repeats
    dataset_sha256: str  # of the canonical JSONL: these rows in this order
    dataset_set_sha256: str | None = None  # of the set of rows, in any order
    dataset_rows: int
    base_model: str
    base_model_revision: str  # a commit of the hub, or the SHA-256 of the file
    hyperparameters: dict[str, JsonValue]  # all of them, defaults resolved
    quality_gate: str
    seed: int
    packages: dict[str, str]
    python: str
    platform: str
    device: str
    device_kind: str
    precision: str
    threads: int | None = None
    code_version: str  # of this package
    code_sha256: str  # of its sources
    weights_sha256: str  # of adapter_model.safetensors alone: equal where the run was repeated exactly


EXPECTED_TO_DIFFER = ("run_id", "parent_run_id")


def differences(one: Manifest, other: Manifest) -> dict[str, tuple[JsonValue, JsonValue]]:
    """Field (dotted inside of `hyperparameters` and `packages`) → the values of both, where they are not equal."""
    left, right = _flat(one), _flat(other)
    return {
        name: (left.get(name), right.get(name))
        for name in sorted({*left, *right})
        if left.get(name) != right.get(name) and name not in EXPECTED_TO_DIFFER
    }


def _flat(manifest: Manifest) -> dict[str, JsonValue]:
    flat: dict[str, JsonValue] = {}
    for name, value in manifest.model_dump(mode="json").items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": member for inner, member in value.items()}
        else:
            flat[name] = value
    return flat
