"""python -m tests.chaos (make chaos MINUTES=… SEED=…): breaks the running system for as long as it is told.

Crash points first, then faults under load, then kills alone, and between them the oracle. It prints a table, keeps
the figures and its evidence in a folder, and ends with 1 when anything was lost, doubled or left unfinished.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.below import offered
from tests.chaos.client_journal import ClientJournal
from tests.chaos.crash_points import POINTS, TRAINING_POINTS, Point, Side
from tests.chaos.crashes import crash
from tests.chaos.faults import FAULTS, Fault, kill_a_child, kill_a_process
from tests.chaos.ground import missing_parts
from tests.chaos.load import Client, client_of
from tests.chaos.quiescence import Judge
from tests.chaos.toy_world import TOY_STORM, toy_world
from tests.chaos.under_load import storm
from tests.chaos.world import World, running_world
from tests.training.toy import make_toy_model

RESULTS = Path(".cache/chaos")
RATE = 1.0  # requests a second: two trainers, often away, keep up, so that healing is not the time of a backlog
KILLS: tuple[Fault, ...] = (kill_a_process, kill_a_process, kill_a_process, kill_a_child)


@dataclass(frozen=True)
class Row:
    """One line of the table: how often something was done, in how many seconds, and what was broken after it."""

    what: str
    times: int
    seconds: float
    healed: float  # the longest time until everything was at rest again
    broken: list[str]

    def __str__(self) -> str:
        verdict = "kept" if not self.broken else f"BROKEN {len(self.broken)}: {self.broken[0][:90]}"
        return f"{self.what:<44}{self.times:>6}{self.seconds:>9.0f} s{self.healed:>9.1f} s   {verdict}"


@dataclass(frozen=True)
class Trial:
    """A running system and everything that tries it."""

    world: World
    client: Client
    judge: Judge
    tell: Callable[[Row], None]

    def crash_points(self, points: Sequence[Point], seeds: range) -> None:
        """Each point, both sides, for each seed."""
        for point in points:
            for side in Side:
                began = time.monotonic()
                healed = max(crash(self.world, self.client, point, side, seed) for seed in seeds)
                broken = [str(one) for one in self.judge.judge()]
                what = f"{point.service} dies {side} {point.name}"
                self.tell(Row(what, len(seeds), time.monotonic() - began, healed, broken))

    def faults(self, what: str, faults: tuple[Fault, ...], *, pause: float, **how: Any) -> None:
        """Random ones under load, see storm; each kind has a line of its own."""
        told = storm(self.world, self.client, self.judge, faults, pause=(0.3, pause), **how)
        broken = [str(one) for one in self.judge.judge()]
        answers = ", ".join(f"{count} {answer}" for answer, count in sorted(told.answers.items()))
        self.tell(Row(f"{what}: {answers}", told.faults.total(), told.seconds, told.healed_seconds, broken))
        for name, times in sorted(told.faults.items()):
            self.tell(Row(f"  {name.replace('_', ' ')}", times, told.seconds, told.healed_seconds, broken))


@contextmanager
def trial(world: World, log: Path, tell: Callable[[Row], None]) -> Iterator[Trial]:
    """A client of this world, which keeps its journal in `log`, and a judge."""
    with (
        ClientJournal(log) as journal,
        client_of(world.trigger_url, world.secrets.gateway_secret, journal) as client,
    ):
        yield Trial(world, client, Judge(world.database_url, world.artifacts, log), tell)


def main() -> int:
    """Run what was asked for; the exit code."""
    words = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.splitlines()[0])
    words.add_argument("--minutes", type=float, default=5, help="of faults under load, and as long again of kills")
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--crashes", type=int, default=1, help="seeds of each crash point and side")
    asked = words.parse_args()
    rows: list[Row] = []

    def tell(row: Row) -> None:
        rows.append(row)
        print(row, flush=True)

    folder = Path(tempfile.mkdtemp(prefix="oncetune-chaos-"))
    print(f"seed {asked.seed}; logs and evidence in {folder}")
    for part, needs in missing_parts().items():
        print(f"the {part} cannot be broken here: that needs {needs}")
    seeds, seconds = range(asked.seed, asked.seed + asked.crashes), 60 * asked.minutes
    try:
        with running_world(folder / "world") as world, trial(world, folder / "client.jsonl", tell) as one:
            one.crash_points(POINTS, seeds)
            one.faults("faults", FAULTS + offered(), seed=asked.seed, seconds=seconds, pause=2.0, per_second=RATE)
            one.faults("kills", KILLS, seed=asked.seed + 1, seconds=seconds, pause=0.9, per_second=RATE)
        toy = make_toy_model(folder / "toy-model")
        with toy_world(folder / "toy", toy) as world, trial(world, folder / "toy.jsonl", tell) as one:
            one.crash_points(TRAINING_POINTS, seeds)
            one.faults("kills of a toy's training", KILLS, seed=asked.seed, seconds=seconds, **TOY_STORM)
    finally:  # what did not come to rest ends all; the rows before it are still worth their hours
        _keep(asked.seed, rows)
    return int(any(row.broken for row in rows))


def _keep(seed: int, rows: Sequence[Row]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    kept = RESULTS / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    kept.write_text(json.dumps({"seed": seed, "rows": [vars(row) for row in rows]}, indent=1) + "\n")
    print(f"figures: {kept}")


if __name__ == "__main__":
    sys.exit(main())
