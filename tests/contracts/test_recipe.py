"""The ranges of a recipe: the edges are in, one step further is out, and a recipe is read strictly."""

import json

import pytest
from pydantic import ValidationError

from oncetune.contracts.recipe import Hyperparameters, TrainingRecipe

RANGES = [  # field, both edges (allowed), values just outside
    ("beta", (1e-9, 10), (0, -1, 10.001)),
    ("learning_rate", (1e-9, 1e-2), (0, -1e-9, 0.0101)),
    ("epochs", (1, 100), (0, 101)),
    ("max_steps", (1, 1_000_000), (0, 1_000_001)),
    ("batch_size", (1, 256), (0, 257)),
    ("gradient_accumulation", (1, 256), (0, 257)),
    ("max_length", (32, 131_072), (31, 131_073)),
    ("warmup_steps", (0, 100_000), (-1, 100_001)),
    ("max_grad_norm", (1e-9, 100), (0, 100.1)),
    ("lora_rank", (1, 256), (0, 257)),
    ("lora_alpha", (1, 1024), (0, 1025)),
    ("lora_dropout", (0, 0.999), (-0.001, 1)),
    ("max_dropped_share", (0, 1), (-0.001, 1.001)),
    ("seed", (0, 2**31 - 1), (-1, 2**31)),
    ("held_out_share", (0, 0.5), (-0.001, 0.501)),
    ("held_out_max_rows", (8, 10_000), (7, 10_001)),
    ("samples", (0, 32), (-1, 33)),
    ("early_stop", (True, False), (0, "yes", None)),
    ("lr_scheduler", ("linear", "constant", "cosine"), ("polynomial", "")),
    ("loss_type", (["sigmoid"], ["hinge", "ipo", "robust", "sft"]), ([], ["sigmoid"] * 2, ["unknown"], "sigmoid")),
    ("loss_weights", ([0, 100], None), ([1], [1, 1, 1], [-0.1, 1], [1, 100.1], [])),
]
FLOATS = ("beta", "learning_rate", "max_grad_norm", "lora_dropout", "max_dropped_share", "held_out_share")


def test_every_knob_has_its_range_here():
    assert {field for field, *_ in RANGES} == set(Hyperparameters.model_fields)


@pytest.mark.parametrize(("field", "allowed", "refused"), RANGES, ids=[field for field, *_ in RANGES])
def test_a_knob_takes_its_edges_and_nothing_beyond(field, allowed, refused):
    for value in allowed:
        Hyperparameters.model_validate({field: value})
        Hyperparameters.model_validate_json(json.dumps({field: value}))
    for value in refused:
        with pytest.raises(ValidationError, match=field):
            Hyperparameters.model_validate({field: value})


@pytest.mark.parametrize("field", FLOATS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.1", True])
def test_a_knob_takes_only_a_finite_number(field, value):
    with pytest.raises(ValidationError, match=field):
        Hyperparameters.model_validate({field: value})


@pytest.mark.parametrize(
    "recipe",
    [
        {"base_model": ""},
        {"base_model": "x" * 501},
        {"dataset_sha256": "A" * 64},
        {"dataset_sha256": "a" * 63},
        {"algo": "ppo"},
        {"recipe_version": 3},
        {"quality_gate": "on"},
        {"unknown": 1},
        {"hyperparameters": {"unknown": 1}},
        {"hyperparameters": {"epochs": "1"}},
        {"hyperparameters": {"epochs": 1.0}},
    ],
    ids=str,
)
def test_a_recipe_that_a_trainer_does_not_know_exactly_is_refused(recipe):
    good = {"base_model": "toy", "dataset_sha256": "a" * 64}
    TrainingRecipe.model_validate(good)
    with pytest.raises(ValidationError):
        TrainingRecipe.model_validate({**good, **recipe})


def test_a_recipe_survives_the_ledger_s_json():
    recipe = TrainingRecipe(
        base_model="toy",
        dataset_sha256="a" * 64,
        hyperparameters=Hyperparameters(loss_type=("hinge", "sft"), loss_weights=(1.0, 0.5), max_steps=3),
    )
    assert TrainingRecipe.model_validate(recipe.model_dump(mode="json")) == recipe
    assert TrainingRecipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize(("share", "rows"), [(0.29, 100), (0.58, 50), (0.7, 90), (0.2, 5)])
def test_exactly_the_allowed_share_of_rows_may_be_left_out_and_not_one_more(share, rows):
    allowed, most = Hyperparameters(max_dropped_share=share), round(share * rows)
    assert allowed.may_leave_out(most, rows)
    assert not allowed.may_leave_out(most + 1, rows)
