"""The toy model, and one pass of the program over many folders: what several tests then look at."""

import json
import math
import shutil
import struct
from pathlib import Path

import pytest

from tests.training.runs import CHAT_ROWS, TEXT_ROWS, Outcome, run_several, write_run
from tests.training.toy import make_toy_model

NOT_A_NUMBER = struct.pack("<f", math.nan)
ENDLESS = (
    "{% for turn in messages %}{{ turn['role'] }}: {{ turn['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
MISSING_MODEL = "/no/such/folder"


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_model(tmp_path_factory.mktemp("toy") / "model")


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def outcomes(toy_model: Path, model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
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
        "text": write_run(base / "text", toy_model, TEXT_ROWS, max_steps=8, learning_rate=1e-2),
        "every_position": write_run(base / "every_position", toy_model, TEXT_ROWS, max_steps=8, learning_rate=1e-2),
        "chat": write_run(base / "chat", toy_model, CHAT_ROWS, max_steps=8, learning_rate=1e-2),
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
    (runs["every_position"] / "every_position").touch()
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
