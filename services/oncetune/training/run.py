"""One run of the program from its recipe to its adapter: load, hold out, train, evaluate, save, answer, record."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue
from transformers import PreTrainedTokenizerBase

from oncetune.contracts.checkpoint import CheckpointPlan
from oncetune.contracts.progress import ROWS, Progress
from oncetune.contracts.recipe import Hyperparameters, TrainingRecipe
from oncetune.contracts.training_record import ANSWER_TOKENS, RECORD_NAME
from oncetune.training.adapter import save_adapter
from oncetune.training.checkpoints import ToldToStop
from oncetune.training.device import Device, choose_device
from oncetune.training.dpo import Trained, train
from oncetune.training.held_out import Split, split_rows
from oncetune.training.metrics import describe, rows_reached
from oncetune.training.model import BaseModel, load_model, load_tokenizer, locate_base_model, read_limits
from oncetune.training.phases import Phases
from oncetune.training.record import describe_run, write_record
from oncetune.training.rows import JudgedRows, judge_rows, read_pairs
from oncetune.training.samples import answer_before_and_after


@dataclass(frozen=True)
class Prepared:
    """What a training starts from; the weights are not loaded yet."""

    base: BaseModel
    device: Device
    tokenizer: PreTrainedTokenizerBase
    judged: JudgedRows
    split: Split


def train_adapter(
    recipe: TrainingRecipe,
    folder: Path,
    cache: Path,
    send: Callable[[Progress], None],
    phases: Phases,
    plan: CheckpointPlan | None,
) -> dict[str, JsonValue] | None:
    """FOLDER/dataset.jsonl in, FOLDER/adapter/ and FOLDER/record.json out; the run's metrics, None when it was told to
    stop before its end. Raises Refusal. `cache` holds converted models.
    """
    knobs = recipe.hyperparameters
    prepared = _prepare(recipe, folder / ROWS, cache)
    weights = load_model(prepared.base, prepared.device.dtype)
    try:
        trained = train(
            weights, prepared.tokenizer, prepared.split, knobs, prepared.device, folder / "scratch", send, phases, plan
        )
    except ToldToStop:
        return None
    return _finish(trained, prepared, knobs, folder, send, phases)


def _prepare(recipe: TrainingRecipe, dataset: Path, cache: Path) -> Prepared:
    knobs = recipe.hyperparameters
    pairs = read_pairs(dataset)
    device = choose_device()
    base = locate_base_model(recipe.base_model, cache)
    tokenizer = load_tokenizer(base)
    limits = read_limits(base, tokenizer)
    judged = judge_rows(pairs, tokenizer, limits, knobs)
    split = split_rows(pairs, judged, knobs, longest_sample=limits.context - ANSWER_TOKENS)
    return Prepared(base, device, tokenizer, judged, split)


def _finish(
    trained: Trained,
    prepared: Prepared,
    knobs: Hyperparameters,
    folder: Path,
    send: Callable[[Progress], None],
    phases: Phases,
) -> dict[str, JsonValue]:
    split, base, device = prepared.split, prepared.base, prepared.device
    reached = rows_reached(trained, split, knobs)
    metrics = describe(trained, prepared.judged, split, base, device, rows_trained=reached)
    record = describe_run(trained, split, base, device, metrics, rows_trained=reached)
    with phases.timed("saving"):
        send(Progress(phase="saving", step=len(trained.report.steps), steps=len(trained.report.steps)))
        save_adapter(trained.model, folder / "adapter")
    with phases.timed("sampling"):
        sampled = answer_before_and_after(
            trained.model,
            prepared.tokenizer,
            split,
            trained.report,
            batch=2 * knobs.batch_size,  # sequences, as in a step of training
        )
    write_record(folder / RECORD_NAME, record, sampled, phases.told())
    return metrics
