"""python -m oncetune.training FOLDER: train one adapter as FOLDER/recipe.json says (contracts/progress.py).

Environment: ONCETUNE_MODEL_CACHE is the folder for converted models (default: oncetune/models in the user's cache).
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, JsonValue, ValidationError

from oncetune.contracts.checkpoint import CheckpointPlan
from oncetune.contracts.progress import REFUSED_EXIT, STOPPED_EXIT, Finished, Progress, Refused
from oncetune.contracts.recipe import TrainingRecipe
from oncetune.training.plan import beginning, read_plan
from oncetune.training.process import die_with_parent, model_cache, share_cores, take_stdout
from oncetune.training.refusal import Refusal


def main() -> int:
    """Train, and return the exit status; anything but a Refusal ends in a traceback and another status."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    protocol = take_stdout()
    die_with_parent()
    share_cores()

    def send(line: BaseModel) -> None:
        print(line.model_dump_json(), file=protocol, flush=True)

    plan = read_plan(folder)
    send(beginning(plan))
    try:
        metrics = train_adapter(folder, model_cache(os.environ), send, plan)
    except Refusal as refusal:
        send(Refused(code=refusal.code, message=refusal.message))
        return REFUSED_EXIT
    if metrics is None:
        return STOPPED_EXIT
    send(Finished(metrics=metrics))
    return 0


def read_recipe(path: Path) -> TrainingRecipe:
    """Raises Refusal for a recipe of another version or out of range."""
    try:
        return TrainingRecipe.model_validate_json(path.read_bytes())
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, problem["loc"])) or "the whole" for problem in error.errors())
        raise Refusal("recipe_invalid", f"The recipe does not fit this version, look at: {fields}.") from error


def train_adapter(
    folder: Path, cache: Path, send: Callable[[Progress], None], plan: CheckpointPlan | None
) -> dict[str, JsonValue] | None:
    """Recipe and rows in, FOLDER/adapter/ out; the run's metrics, None when it was told to stop before its end."""
    recipe = read_recipe(folder / "recipe.json")
    hyperparameters = recipe.hyperparameters

    # torch and its friends take seconds to import: the trainer has heard from us before
    from oncetune.training import adapter, checkpoints, device, dpo, metrics, model, rows

    pairs = rows.read_pairs(folder / "dataset.jsonl")
    chosen_device = device.choose_device()
    base = model.locate_base_model(recipe.base_model, cache)
    tokenizer = model.load_tokenizer(base)
    judged = rows.judge_rows(pairs, tokenizer, model.read_limits(base, tokenizer), hyperparameters)
    weights = model.load_model(base, chosen_device.dtype)
    try:
        tuned, report = dpo.train(
            weights, tokenizer, judged.pairs, hyperparameters, chosen_device, folder / "scratch", send, plan
        )
    except checkpoints.StoppedEarly:
        return None
    trainable = dpo.count_trainable(tuned)
    send(Progress(phase="saving", step=len(report.steps), steps=len(report.steps)))
    adapter.save_adapter(tuned, folder / "adapter")
    return metrics.describe(report, judged, base, chosen_device, trainable)


if __name__ == "__main__":
    sys.exit(main())
