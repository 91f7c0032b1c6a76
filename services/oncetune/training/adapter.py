"""The result: an adapter in PEFT's format, seen under its final name only when it is complete and proved."""

import shutil
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict

from oncetune.training.refusal import Refusal

_PROOF = "proof"


class DamagedAdapter(Exception):
    """What was read back is not what was trained: the disk or a library failed; another attempt may do better."""


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Write adapter_config.json and adapter_model.safetensors to `folder`, read them back once, compare.

    Raises Refusal when training left the adapter without effect, DamagedAdapter when it does not read back.
    """
    trained = get_peft_model_state_dict(model)
    _refuse_without_effect(trained)
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    for config in model.peft_config.values():
        config.target_modules = sorted(config.target_modules)  # a set has another order in each process
    model.save_pretrained(part, save_embedding_layers=False)
    (part / "README.md").unlink(missing_ok=True)  # a form that nobody filled in
    _prove(model, part, trained)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _refuse_without_effect(trained: dict[str, torch.Tensor]) -> None:
    """LoRA adds B·A, and B starts at zero."""
    if not all(bool(torch.isfinite(tensor).all()) for tensor in trained.values()):
        raise Refusal("non_finite_loss", "The last step left weights that are no numbers: lower learning_rate.")
    if not any(bool(tensor.any()) for name, tensor in trained.items() if "lora_B" in name):
        raise Refusal(
            "nothing_to_learn",
            "Training changed no weight: the learning rate was zero in every step. Train for more steps than "
            "warmup_steps.",
        )


def _prove(model: PeftModel, folder: Path, trained: dict[str, torch.Tensor]) -> None:
    model.load_adapter(folder, adapter_name=_PROOF)
    loaded = get_peft_model_state_dict(model, adapter_name=_PROOF)
    if loaded.keys() != trained.keys() or not all(torch.equal(loaded[name], trained[name]) for name in trained):
        raise DamagedAdapter(f"the adapter in {folder} is not the one that was trained")
    model.delete_adapter(_PROOF)
