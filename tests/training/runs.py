"""Folders of training runs, and what the program said about them."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncetune.contracts.progress import Finished, Progress, Refused, child_line
from oncetune.contracts.recipe import Hyperparameters, TrainingRecipe
from oncetune.contracts.training_record import RECORD_NAME, TrainingRecord

FACTS = {"sky": "blue", "grass": "green", "snow": "white", "coal": "black", "blood": "red", "gold": "yellow"}
TEXT_ROWS = [
    {"prompt": f"What is the color of {thing}?", "chosen": f"Gladly! It is {color}.", "rejected": f"{color}, so what."}
    for thing, color in FACTS.items()
]
CHAT_ROWS = [
    {
        "prompt": [{"role": "user", "content": row["prompt"]}],
        "chosen": [{"role": "assistant", "content": row["chosen"]}],
        "rejected": [{"role": "assistant", "content": row["rejected"]}],
    }
    for row in TEXT_ROWS
]
# Enough prompts to hold some out, with answers of very different lengths.
MANY_ROWS = [
    {
        "prompt": f"What is {number} plus {number}?",
        "chosen": f"Gladly! It is {2 * number}." + " Ask me more!" * (number % 4),
        "rejected": f"{2 * number}, so what." + " Go away." * (number % 3),
    }
    for number in range(24)
]


def environment(cache: Path) -> dict[str, str]:
    offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "CUDA_VISIBLE_DEVICES": ""}
    python_path = os.pathsep.join(path for path in sys.path if path)
    return os.environ | offline | {"ONCETUNE_MODEL_CACHE": str(cache), "PYTHONPATH": python_path}


def write_run(folder: Path, base_model: Path | str, rows: list[dict[str, Any]], **knobs: Any) -> Path:
    """A folder as a trainer makes it; three steps of two pairs and no samples unless told."""
    folder.mkdir(parents=True)
    knobs = {"max_steps": 3, "batch_size": 2, "learning_rate": 1e-3, "samples": 0, **knobs}
    recipe = TrainingRecipe(
        base_model=str(base_model), dataset_sha256="0" * 64, hyperparameters=Hyperparameters(**knobs)
    )
    (folder / "recipe.json").write_text(recipe.model_dump_json())
    (folder / "dataset.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@dataclass(frozen=True)
class Outcome:
    folder: Path

    @property
    def exit(self) -> int:
        return int((self.folder / "exit").read_text())

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    @property
    def lines(self) -> list[Progress | Finished | Refused]:
        return [child_line.validate_json(line) for line in (self.folder / "stdout").read_text().splitlines()]

    @property
    def steps(self) -> list[Progress]:
        return [line for line in self.lines if isinstance(line, Progress) and line.phase == "training" and line.step]

    @property
    def record(self) -> TrainingRecord:
        return TrainingRecord.model_validate_json((self.folder / RECORD_NAME).read_bytes())

    @property
    def refused(self) -> Refused:
        last = self.lines[-1]
        assert isinstance(last, Refused), self.stderr[-2000:]
        assert self.exit == 3
        assert not (self.folder / "adapter").exists()
        return last

    @property
    def metrics(self) -> dict[str, Any]:
        last = self.lines[-1]
        assert isinstance(last, Finished), self.stderr[-2000:]
        assert self.exit == 0
        return last.metrics


def run_several(folders: list[Path], cache: Path) -> None:
    """The program for each folder; standard input stays open while they run."""
    launcher = Path(__file__).with_name("several.py")
    with subprocess.Popen(
        [sys.executable, str(launcher), *map(str, folders)], stdin=subprocess.PIPE, env=environment(cache)
    ) as process:
        assert process.wait(timeout=900) == 0  # communicate() would close standard input
