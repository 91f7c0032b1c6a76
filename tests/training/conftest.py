"""The toy model, and one pass of the program over many folders: what several tests then look at."""

import json
import math
import shutil
import struct
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from oncetune.contracts.split import held_out_prompts, prompt_key
from tests.training.runs import CHAT_ROWS, MANY_ROWS, TEXT_ROWS, Outcome, run_several, write_run
from tests.training.toy import make_toy_model

NOT_A_NUMBER = struct.pack("<f", math.nan)
ENDLESS = (
    "{% for turn in messages %}{{ turn['role'] }}: {{ turn['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
HELD_OUT = {"held_out_share": 0.4}
# A loss that makes both answers unlikely: in order after ten steps, while the learning rate still grows, not after 20.
FALLING = {
    "held_out_share": 0.4, "loss_type": ["apo_down"], "beta": 0.3, "learning_rate": 3e-3, "warmup_steps": 20,
    "batch_size": 4, "max_steps": 40, "samples": 1,
}  # fmt: skip
MISSING_MODEL = "/no/such/folder"


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_model(tmp_path_factory.mktemp("toy") / "model")


@pytest.fixture(scope="session")
def loud_model(toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that is sure of its words: of a toy, all of whose tokens are about as likely, no text can fall apart."""
    loud = shutil.copytree(toy_model, tmp_path_factory.mktemp("loud") / "model")
    tensors = load_file(loud / "model.safetensors")
    louder = {"lm_head.weight": 10 * tensors["lm_head.weight"]}
    save_file(tensors | louder, loud / "model.safetensors", metadata={"format": "pt"})
    return loud


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def outcomes(
    toy_model: Path, loud_model: Path, model_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Outcome]:
    base = tmp_path_factory.mktemp("runs")
    cut = shutil.copytree(toy_model, base / "cut_model")
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    endless = shutil.copytree(toy_model, base / "endless_model")
    (endless / "chat_template.jinja").write_text(ENDLESS)
    broken = shutil.copytree(toy_model, base / "broken_model")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: -len(NOT_A_NUMBER)] + NOT_A_NUMBER)
    plain = shutil.copytree(toy_model, base / "plain_model")
    (plain / "chat_template.jinja").unlink()

    runs = {
        "text": write_run(base / "text", toy_model, TEXT_ROWS, max_steps=8, learning_rate=1e-2, samples=4),
        "every_position": write_run(base / "every_position", toy_model, TEXT_ROWS, max_steps=8, learning_rate=1e-2),
        "no_memory": write_run(base / "no_memory", toy_model, TEXT_ROWS, samples=2),
        "chat": write_run(base / "chat", toy_model, CHAT_ROWS, max_steps=8, learning_rate=1e-2, samples=4),
        "plain": write_run(base / "plain", plain, TEXT_ROWS),
        "plain_chat": write_run(base / "plain_chat", plain, [*TEXT_ROWS, CHAT_ROWS[0]]),
        "endless": write_run(base / "endless", endless, TEXT_ROWS),
        "cut": write_run(base / "cut", cut, TEXT_ROWS),
        "missing": write_run(base / "missing", MISSING_MODEL, TEXT_ROWS),
        "unknown": write_run(base / "unknown", "nobody/has-this-model", TEXT_ROWS),
        "wheel_without_model": write_run(base / "wheel_without_model", "pydantic", TEXT_ROWS),
        "not_a_number": write_run(base / "not_a_number", broken, TEXT_ROWS),
        "weightless": write_run(base / "weightless", toy_model, TEXT_ROWS, loss_weights=(0.0, 0.0)),
        "all_warmup": write_run(base / "all_warmup", toy_model, TEXT_ROWS, max_steps=1, warmup_steps=5),
        "accumulated": write_run(
            base / "accumulated", toy_model, TEXT_ROWS, batch_size=1, gradient_accumulation=2, max_steps=None, epochs=2
        ),
    }
    drawn = held_out_prompts(
        [prompt_key(row["prompt"]) for row in MANY_ROWS], seed=42, share=HELD_OUT["held_out_share"], max_rows=64
    )
    others = [row for row in MANY_ROWS if prompt_key(row["prompt"]) not in drawn]
    alike = {"batch_size": 3, "max_steps": 12, "learning_rate": 1e-2, "lora_dropout": 0.1}
    runs |= {
        "held_out": write_run(base / "held_out", toy_model, MANY_ROWS, samples=3, **HELD_OUT, **alike),
        "others": write_run(base / "others", toy_model, others, held_out_share=0.0, **alike),
        "falls_apart": write_run(base / "falls_apart", loud_model, MANY_ROWS, **FALLING),
        "in_time": write_run(base / "in_time", loud_model, MANY_ROWS, **FALLING | {"max_steps": 10}),
        "unwatched": write_run(
            base / "unwatched", loud_model, MANY_ROWS, **FALLING | {"max_steps": 20}, early_stop=False
        ),
        "never_in_order": write_run(
            base / "never_in_order",
            loud_model,
            MANY_ROWS,
            **FALLING | {"beta": 1.0, "learning_rate": 1e-2, "warmup_steps": 0, "max_steps": 20},
        ),
    }
    for name in ("every_position", "no_memory"):
        (runs[name] / name).touch()
    answers = base / "answers"
    answers.mkdir()
    (answers / "request.json").write_text(
        json.dumps(
            {
                "base_model": str(toy_model),
                "adapter": str(base / "text" / "adapter"),
                "prompts": ["Hi!", TEXT_ROWS[0]["prompt"], "Tell me all that you know about the color of the sky."],
                "max_new_tokens": 8,
            }
        )
    )
    run_several([*runs.values(), answers], model_cache)
    return {name: Outcome(folder) for name, folder in {**runs, "answers": answers}.items()}
