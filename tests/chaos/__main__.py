"""python -m tests.chaos (make chaos MINUTES=… SEED=…): breaks the running system for as long as it is told.

Crash points first, then faults under load, then kills alone, what they cost, and between them the oracle. It prints a
table, keeps the figures and its evidence in a folder, and ends with 1 when anything was lost, doubled or unfinished.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.chaos.crash_points import POINTS, TRAINING_POINTS
from tests.chaos.ground import missing_parts
from tests.chaos.toy_world import toy_world
from tests.chaos.trial import PROOF, Row, trying
from tests.chaos.world import running_world
from tests.training.toy import make_toy_model

RESULTS = Path(".cache/chaos")
STAND_IN_PARTS = ("points", "faults", "outages", "kills", "proof", "costs", "memory")  # methods of a Trial
TRAINING = "training"  # the one whose training is real


def main() -> int:
    """Run what was asked for; the exit code."""
    asked = _asked()
    rows: list[Row] = []

    def tell(row: Row) -> None:
        rows.append(row)
        print(row, flush=True)

    folder = Path(tempfile.mkdtemp(prefix="oncetune-chaos-"))
    print(f"seed {asked.seed}; logs and evidence in {folder}", flush=True)
    for part, needs in missing_parts().items():
        print(f"the {part} cannot be broken here: that needs {needs}", flush=True)
    how: dict[str, Any] = {
        "tell": tell,
        "seed": asked.seed,
        "crashes": asked.crashes,
        "only": tuple(asked.only),
        "seconds": 60 * asked.minutes,
        "patience": asked.patience,
    }
    try:
        if set(asked.parts) & set(STAND_IN_PARTS):
            with (
                running_world(folder / "world") as world,
                trying(world, folder / "client.jsonl", **how) as one,
            ):
                for part in STAND_IN_PARTS:
                    if part in asked.parts:
                        getattr(one, part)()
        if TRAINING in asked.parts:
            toy = make_toy_model(folder / "toy-model")
            with toy_world(folder / "toy", toy) as world, trying(world, folder / "toy.jsonl", **how) as one:
                one.training()
    finally:  # what did not come to rest ends all; the rows before it are still worth their hours
        _keep(asked.seed, rows)
    return int(any(row.broken for row in rows))


def _asked() -> argparse.Namespace:
    words = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.splitlines()[0])
    words.add_argument("--minutes", type=float, default=1, help="of each load: faults, kills, costs, memory, training")
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--crashes", type=int, default=1, help="seeds of each crash point and side")
    words.add_argument("--patience", type=float, default=1, help="times the usual wait for rest: on a busy machine")
    names = [*(point.name for point in POINTS + TRAINING_POINTS), *PROOF]
    words.add_argument(
        "--only", nargs="+", choices=names, default=(), help="these crash points, or series of the proof"
    )
    words.add_argument(
        "--parts",
        nargs="+",
        choices=(*STAND_IN_PARTS, TRAINING),
        default=[part for part in (*STAND_IN_PARTS, TRAINING) if part != "proof"],
        help="all but proof, which kills 1,000 processes and takes an hour",
    )
    return words.parse_args()


def _keep(seed: int, rows: Sequence[Row]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    kept = RESULTS / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{seed}.json"
    kept.write_text(json.dumps({"seed": seed, "rows": [vars(row) for row in rows]}, indent=1) + "\n")
    print(f"figures: {kept}")


if __name__ == "__main__":
    sys.exit(main())
