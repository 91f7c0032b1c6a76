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
from tests.chaos.faults import (
    FAULTS,
    Fault,
    kill_a_child,
    kill_a_process,
    restart_postgres,
    stop_a_trainer,
    wipe_the_broker,
)
from tests.chaos.figures import reclaim_seconds, under_load
from tests.chaos.ground import missing_parts
from tests.chaos.load import Client, client_of
from tests.chaos.quiescence import Judge
from tests.chaos.toy_world import TOY_STORM, toy_world
from tests.chaos.under_load import storm
from tests.chaos.world import LEASE_SECONDS, World, running_world
from tests.training.toy import make_toy_model

RESULTS = Path(".cache/chaos")
RATE = 1.0  # requests a second: two trainers, often away, keep up, so that healing is not the time of a backlog
RECLAIMS = 10
PROOF: dict[Fault, int] = {
    kill_a_process: 800,
    kill_a_child: 200,
    stop_a_trainer: 200,
    restart_postgres: 50,
    wipe_the_broker: 20,
}
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

    def figures(self, *, seconds: float, seed: int) -> None:
        """What faults cost, and what a load leaves in memory."""
        again = max(reclaim_seconds(self.world, self.client, f"{seed}-{number}") for number in range(RECLAIMS))
        how = {"seconds": seconds, "per_second": RATE}
        calm = under_load(self.world, self.client, (), name=f"calm-{seed}", **how)
        killed = under_load(self.world, self.client, KILLS, name=f"killed-{seed}", **how)
        share = killed.completed_per_second / calm.completed_per_second
        broken = [str(one) for one in self.judge.judge()]
        figures = {
            f"a killed trainer's run goes on, longest of {RECLAIMS}, lease {LEASE_SECONDS:.0f} s": f"{again:.1f} s",
            "runs completed under one kill a second, of those undisturbed": f"{share:.2f}",
            "memory after that load, of that before": f"{calm.memory_grew:.2f} ({calm.memory_mib:.0f} MiB)",
        }
        for what, figure in figures.items():
            self.tell(Row(f"{what}: {figure}", 1, seconds, 0, broken))


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
    words.add_argument("--proof", action="store_true", help="1,000 kills and so on besides, which takes an hour")
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
            for fault, times in PROOF.items() if asked.proof else ():
                one.faults(
                    "proof", (fault,) * times, seed=asked.seed + 2 + times, seconds=0, pause=0.9, per_second=RATE
                )
            one.figures(seconds=seconds, seed=asked.seed)
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
