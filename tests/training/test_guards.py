"""Guards that no ordinary run meets: a disk or a library that lies, a tokenizer of another model."""

import subprocess
import sys

from tests.training.runs import environment

DAMAGED = """
import sys
from pathlib import Path
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from oncetune.training.adapter import DamagedAdapter, save_adapter

lora = LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
model = get_peft_model(AutoModelForCausalLM.from_pretrained(sys.argv[1]), lora)
write = PeftModel.save_pretrained

def write_something_else(self, folder, **more):
    write(self, folder, **more)
    file = Path(folder) / "adapter_model.safetensors"
    tensors = load_file(file)
    name = min(tensors)
    save_file(tensors | {name: tensors[name] + 1}, file)

save_adapter(model, Path(sys.argv[2]) / "whole")
PeftModel.save_pretrained = write_something_else
try:
    save_adapter(model, Path(sys.argv[2]) / "damaged")
except DamagedAdapter:
    print("damaged")
"""

MISMATCHED = """
from oncetune.training.refusal import Refusal
from oncetune.training.rows import TokenPair, _refuse_unknown_ids

pair = TokenPair(prompt=[1, 2], chosen=[3], rejected=[4])
_refuse_unknown_ids([pair], 5)
try:
    _refuse_unknown_ids([pair], 4)
except Refusal as refusal:
    print(refusal.code)
"""

BROKEN = """
import sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from oncetune.training.refusal import Refusal
from oncetune.training.sampling import sample

model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
assert len(sample(model, tokenizer, ["What is it?", "And what is that over there?"], 2)) == 2
with torch.no_grad():
    next(model.parameters())[:] = float("nan")
try:
    sample(model, tokenizer, ["What is it?"], 2)
except Refusal as refusal:
    print(refusal.code)
"""


def _told(code, *words, cache):
    command = [sys.executable, "-c", code, *map(str, words)]
    told = subprocess.run(command, env=environment(cache), capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return told.stdout.strip()


def test_an_adapter_that_does_not_read_back_as_it_was_trained_is_never_seen_under_its_name(toy_model, tmp_path):
    assert _told(DAMAGED, toy_model, tmp_path, cache=tmp_path) == "damaged"
    assert (tmp_path / "whole" / "adapter_config.json").exists()
    assert not (tmp_path / "damaged").exists()


def test_ids_that_the_base_model_has_no_embedding_for_are_refused(tmp_path):
    assert _told(MISMATCHED, cache=tmp_path) == "tokenizer_mismatch"


def test_a_model_whose_scores_are_no_numbers_gives_no_answer(toy_model, tmp_path):
    assert _told(BROKEN, toy_model, cache=tmp_path) == "non_finite_logits"
