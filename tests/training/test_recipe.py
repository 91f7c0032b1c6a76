"""Every knob of a recipe reaches TRL and PEFT: one that did nothing would be noticed by nobody."""

import json
import subprocess
import sys

from oncetune.contracts.recipe import Hyperparameters
from tests.training.runs import environment

GIVEN = Hyperparameters(
    beta=0.7,
    learning_rate=0.003,
    epochs=3,
    max_steps=17,
    batch_size=5,
    gradient_accumulation=2,
    warmup_steps=4,
    lr_scheduler="cosine",
    max_grad_norm=0.5,
    lora_rank=6,
    lora_alpha=11,
    lora_dropout=0.25,
    loss_type=("ipo", "sft"),
    loss_weights=(0.75, 0.25),
    seed=99,
)
CODE = """
import json, sys
from pathlib import Path
from oncetune.contracts.recipe import Hyperparameters
from oncetune.training import device, dpo
given = Hyperparameters.model_validate_json(sys.argv[1])
arguments = dpo._arguments(given, device.choose_device(), Path(sys.argv[2]), 1000)
names = sys.argv[3].split()
adapter = dpo._adapter(given)
reached = {name: getattr(arguments, name) for name in names}
print(json.dumps([reached, adapter.r, adapter.lora_alpha, adapter.lora_dropout]))
"""


def test_every_knob_reaches_the_library_that_turns_it(tmp_path):
    wanted = {
        "beta": 0.7,
        "learning_rate": 0.003,
        "num_train_epochs": 3,
        "max_steps": 17,
        "per_device_train_batch_size": 5,
        "gradient_accumulation_steps": 2,
        "warmup_steps": 4,
        "lr_scheduler_type": "cosine",
        "max_grad_norm": 0.5,
        "loss_type": ["ipo", "sft"],
        "loss_weights": [0.75, 0.25],
        "seed": 99,
        "disable_dropout": False,  # or the adapter's own would be nothing
        "logging_nan_inf_filter": False,  # or a loss of NaN would be told as 0
    }
    command = [sys.executable, "-c", CODE, GIVEN.model_dump_json(), str(tmp_path), " ".join(wanted)]
    told = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout) == [wanted, 6, 11, 0.25]


def test_no_knob_was_forgotten_above():
    """The others judge and hold out rows before TRL sees any, or act on the finished adapter."""
    defaults = Hyperparameters()
    left = {name for name in Hyperparameters.model_fields if getattr(GIVEN, name) == getattr(defaults, name)}
    judge, hold_out = {"max_length", "max_dropped_share"}, {"held_out_share", "held_out_max_rows"}
    assert left == judge | hold_out | {"samples", "early_stop"}
