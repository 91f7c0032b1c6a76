"""Direct preference optimisation (arXiv 2305.18290) of a LoRA adapter, by TRL's DPOTrainer."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import trl.trainer.utils
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback
from trl import DPOConfig, DPOTrainer

from oncetune.contracts.checkpoint import CheckpointPlan
from oncetune.contracts.progress import Progress
from oncetune.contracts.recipe import Hyperparameters
from oncetune.contracts.training_record import Evaluation
from oncetune.training.checkpoints import CANNOT_WRITE, Checkpoints, ToldToStop
from oncetune.training.device import Device
from oncetune.training.evaluation import HeldOut
from oncetune.training.held_out import Split
from oncetune.training.phases import Phases
from oncetune.training.refusal import Refusal
from oncetune.training.report import Report
from oncetune.training.rows import TokenPair

_COMPACT_HEAD_KNOWN_IN = "1.16.0"  # of TRL: a private name is patched, and a test holds the losses equal
_CHECKPOINTING_ABOVE = 1_500_000_000  # parameters; below it, activations fit and recomputing them costs up to a third


class JudgedPairsTrainer(DPOTrainer):
    """A DPOTrainer that trains on exactly the ids that were judged: TRL would tokenise, drop and cut once more.

    A checkpoint that it cannot write does not end it.
    """

    def __init__(self, checkpoints: Checkpoints, **chosen: Any) -> None:
        self._checkpoints = checkpoints
        super().__init__(**chosen)

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset

    def create_model_card(self, **_: Any) -> None:
        """A form that nobody filled in, for each checkpoint."""

    def _save(self, output_dir: str, *_: Any, **__: Any) -> None:
        self.model.save_pretrained(output_dir, save_embedding_layers=False)  # no tokenizer, no pickled arguments

    def _save_checkpoint(self, *words: Any) -> None:
        try:
            super()._save_checkpoint(*words)
        except CANNOT_WRITE as error:
            self._checkpoints.give_up(error)


@dataclass(frozen=True)
class Trained:
    """The result: after an early stop the adapter is that of the last evaluation that was in order."""

    model: PeftModel
    report: Report
    evaluations: list[Evaluation]
    stopped_early: str | None  # the sentence that says why
    adapter_step: int | None = None  # after an early stop

    @property
    def evaluation(self) -> Evaluation | None:
        """The one of this very adapter."""
        own = (one for one in reversed(self.evaluations) if self.adapter_step in (None, one.step))
        return next(own, None)


def score_completions_only() -> None:
    """Let TRL compute logits for answer tokens only, as it does on a GPU; on a CPU it does so for every position.

    1.6 to 1.9 times as fast on 2 cores (SmolLM2-135M, whose head is half of a step), with equal losses.
    """
    if metadata.version("trl") == _COMPACT_HEAD_KNOWN_IN:
        trl.trainer.utils._use_triton = lambda device: True  # noqa: SLF001, ARG005  # guarded by the version


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    split: Split,
    hyperparameters: Hyperparameters,
    device: Device,
    folder: Path,
    send: Callable[[Progress], None],
    phases: Phases,
    plan: CheckpointPlan | None = None,
) -> Trained:
    """Train a new adapter on `model`; raises Refusal for a run that breaks.

    The reference is the same model with its adapter switched off, so no second copy is held. Temporary files go
    to `folder`. Memory that runs out raises; another attempt may find more. With a plan it goes on from the plan's
    checkpoint, on the same machine with the losses of a run that was never interrupted, and SIGTERM ends it at the
    next step border by ToldToStop.
    """
    score_completions_only()
    report = Report(send, phases)
    held_out = HeldOut(split.held_out, hyperparameters, report, phases)
    checkpoints = Checkpoints(plan, report, held_out)
    trainer = JudgedPairsTrainer(
        model=model,
        checkpoints=checkpoints,
        args=_arguments(hyperparameters, device, checkpoints.arriving or folder, model.num_parameters()),
        train_dataset=_dataset(split.trained),
        processing_class=tokenizer,
        peft_config=_adapter(hyperparameters),
        callbacks=[report, held_out, checkpoints],  # a checkpoint holds its own step's evaluation
    )
    trainer.remove_callback(PrinterCallback)
    if count_trainable(trainer.model) == 0:
        raise Refusal("nothing_to_learn", "The base model has no linear layer that an adapter could change.")
    resume_from = checkpoints.resume()
    with phases.timed("training"):
        trainer.train(resume_from_checkpoint=resume_from)
    stop = held_out.early_stop
    if stop.reason is not None:
        stop.restore(trainer.model)
    elif checkpoints.told_to_stop and len(report.steps) < trainer.state.max_steps:
        raise ToldToStop
    adapter_step = None if stop.reason is None else stop.kept_step
    return Trained(trainer.model, report, held_out.evaluations, stop.reason, adapter_step)


def count_trainable(model: torch.nn.Module) -> int:
    """How many parameters the optimizer changes."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _dataset(pairs: list[TokenPair]) -> Dataset:
    return Dataset.from_dict(
        {
            "prompt_ids": [pair.prompt for pair in pairs],
            "chosen_ids": [pair.chosen for pair in pairs],
            "rejected_ids": [pair.rejected for pair in pairs],
        }
    )


def _adapter(hyperparameters: Hyperparameters) -> LoraConfig:
    return LoraConfig(
        r=hyperparameters.lora_rank,
        lora_alpha=hyperparameters.lora_alpha,
        lora_dropout=hyperparameters.lora_dropout,
        target_modules="all-linear",  # without the output head, which TRL scores by its plain weight
        task_type="CAUSAL_LM",
    )


def _arguments(hyperparameters: Hyperparameters, device: Device, folder: Path, parameters: int) -> DPOConfig:
    return DPOConfig(
        output_dir=str(folder),
        beta=hyperparameters.beta,
        loss_type=list(hyperparameters.loss_type),
        loss_weights=list(hyperparameters.loss_weights) if hyperparameters.loss_weights else None,
        learning_rate=hyperparameters.learning_rate,
        lr_scheduler_type=hyperparameters.lr_scheduler,
        warmup_steps=hyperparameters.warmup_steps,
        max_grad_norm=hyperparameters.max_grad_norm,
        num_train_epochs=hyperparameters.epochs,
        max_steps=hyperparameters.max_steps or -1,
        per_device_train_batch_size=hyperparameters.batch_size,
        gradient_accumulation_steps=hyperparameters.gradient_accumulation,
        gradient_checkpointing=parameters > _CHECKPOINTING_ABOVE,
        disable_dropout=hyperparameters.lora_dropout == 0,
        seed=hyperparameters.seed,
        max_length=None,  # the rows were judged: nothing may be cut any more
        use_cpu=device.name == "cpu",
        bf16=False,  # no autocast: the weights have their precision already
        logging_steps=1,
        logging_nan_inf_filter=False,  # it would write a loss of NaN as 0
        save_strategy="no",  # the callback decides
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=device.name == "cuda",
    )
