"""The recipe, what the trainer wants of checkpoints, and where this attempt begins; read before torch is imported."""

import shutil
import sys
from importlib import metadata
from pathlib import Path

from pydantic import ValidationError

from oncetune.contracts.checkpoint import PLAN_NAME, CheckpointPlan, read_seal
from oncetune.contracts.progress import Progress
from oncetune.contracts.recipe import TrainingRecipe
from oncetune.training.refusal import Refusal

_LIBRARIES = ("torch", "transformers", "trl", "peft")


def read_recipe(path: Path) -> TrainingRecipe:
    """Raises Refusal for a recipe of another version or out of range."""
    try:
        return TrainingRecipe.model_validate_json(path.read_bytes())
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, problem["loc"])) or "the whole" for problem in error.errors())
        raise Refusal("recipe_invalid", f"The recipe does not fit this version, look at: {fields}.") from error


def libraries() -> dict[str, str]:
    """The versions that decide what a checkpoint's files mean."""
    return {library: metadata.version(library) for library in _LIBRARIES}


def read_plan(folder: Path) -> CheckpointPlan | None:
    """None: nobody asked for checkpoints. One that other library versions wrote is taken away: as long as it is the
    newest, later attempts would choose it before those of this one.
    """
    path = folder / PLAN_NAME
    if not path.exists():
        return None
    plan = CheckpointPlan.model_validate_json(path.read_bytes())
    if plan.resume_from is None or read_seal(plan.resume_from).made_with == libraries():
        return plan
    print("The checkpoint is of other library versions: training starts from the beginning.", file=sys.stderr)
    shutil.rmtree(plan.resume_from, ignore_errors=True)
    return plan.model_copy(update={"resume_from": None})


def beginning(plan: CheckpointPlan | None) -> Progress:
    """The first word: that the child lives, and from which step it goes on."""
    if plan is None or plan.resume_from is None:
        return Progress(phase="loading")
    seal = read_seal(plan.resume_from)
    return Progress(
        phase="loading", step=seal.step, steps=seal.steps, resumed_from_step=seal.step, checkpoint_step=seal.step
    )
