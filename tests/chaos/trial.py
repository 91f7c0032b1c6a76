"""What `make chaos` does to a running system, part by part, and the table it prints: see tests/chaos/__main__.py."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.chaos.below import offered
from tests.chaos.client_journal import ClientJournal
from tests.chaos.crash_points import POINTS, TRAINING_POINTS, Point, Side
from tests.chaos.crashes import crash
from tests.chaos.faults import (
    FAULTS,
    Fault,
    away,
    kill_a_child,
    kill_a_process,
    restart_postgres,
    stop_a_trainer,
    wipe_the_broker,
)
from tests.chaos.figures import reclaim_seconds, under_load
from tests.chaos.load import Client, client_of
from tests.chaos.quick import LEASE_SECONDS
from tests.chaos.quiescence import Judge
from tests.chaos.toy_world import TOY_STORM
from tests.chaos.under_load import RATE, storm
from tests.chaos.world import World

SATURATING = 4.0  # more than two trainers can do
RECLAIMS = 10
KILLS: tuple[Fault, ...] = (kill_a_process, kill_a_process, kill_a_process, kill_a_child)


@dataclass(frozen=True)
class Series:
    """Faults under load. `pause`: seconds between two; `per_second`: requests, of which what is left of the trainers
    does more."""

    faults: tuple[Fault, ...]
    pause: tuple[float, float] = (0.5, 2.0)
    per_second: float = RATE


PROOF = {
    "1000-kills": Series(KILLS * 250, pause=(0.7, 1.3)),
    "200-zombies": Series((stop_a_trainer,) * 200, pause=(0.3, 0.9), per_second=RATE / 3),
    "50-restarts": Series((restart_postgres,) * 50),
    "20-wipes": Series((wipe_the_broker,) * 20),
}
# The goals: what is worse counts as broken.
MOST_RECLAIM_SECONDS = LEASE_SECONDS + 2
LEAST_THROUGHPUT = 0.7
MOST_MEMORY = 1.1


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
    """A running system and everything that tries it. Each public method is a part; `seconds` of load where it says."""

    world: World
    client: Client
    judge: Judge
    tell: Callable[[Row], None] = print
    seed: int = 1
    crashes: int = 1  # seeds of each crash point and side
    only: tuple[str, ...] = ()  # names of crash points or series of the proof; all when there is none
    seconds: float = 60.0
    patience: float = 1.0  # times the usual wait until everything is at rest

    def points(self) -> None:
        """Each crash point, both sides."""
        self._crash_at(POINTS)

    def faults(self) -> None:
        """All that there are, at random."""
        self._storm("faults", FAULTS + offered(), seed=self.seed, seconds=self.seconds, pause=(0.3, 2.0))

    def outages(self) -> None:
        """Two minutes each: longer than a connection waits by itself, and into the relay's slow lane."""
        for number, program in enumerate(("daprd-trigger", "daprd-status", "status")):
            low = {"seed": self.seed + 2000 + number, "seconds": 0, "pause": (0.3, 0.9), "per_second": RATE / 2}
            self._storm("outage", (away(program, 120),), **low)

    def kills(self) -> None:
        """Alone, in quick succession."""
        self._storm("kills", KILLS, seed=self.seed + 1, seconds=self.seconds, pause=(0.3, 0.9))

    def proof(self) -> None:
        """Each fault as often as it takes to bound its rate."""
        for number, (what, series) in enumerate(PROOF.items()):
            if not self.only or what in self.only:
                self._storm(what, seed=self.seed + 2 + number, seconds=0, **vars(series))
        stale = sum(log.read_text().count('"lease.lost"') for log in self.world.logs("trainer"))
        self.tell(Row("attempts that noticed that they are zombies", stale, 0, 0, []))

    def costs(self) -> None:
        """How soon a killed trainer's run goes on, and how much is done under kills."""
        again = max(reclaim_seconds(self.world, self.client, f"{self.seed}-{number}") for number in range(RECLAIMS))
        what = f"a killed trainer's run goes on, longest of {RECLAIMS}, lease {LEASE_SECONDS:.0f} s: {again:.1f} s"
        self._tell_figure(what, RECLAIMS, again <= MOST_RECLAIM_SECONDS)
        for rate in (RATE, SATURATING):
            calm, killed = (
                under_load(
                    self.world, self.client, kills, name=f"{name}-{rate}", seconds=self.seconds, per_second=rate
                ).completed_per_second
                for name, kills in (("calm", ()), ("killed", KILLS))
            )
            what = f"{rate:.0f} requests/s: {calm:.2f} runs/s, of those under one kill a second {killed / calm:.2f}"
            self._tell_figure(what, 1, rate == SATURATING or killed / calm >= LEAST_THROUGHPUT)

    def memory(self) -> None:
        """What a load without faults leaves in the services."""
        load = under_load(self.world, self.client, (), name="memory", seconds=self.seconds, per_second=RATE)
        for service, before in load.mib_before.items():
            after = load.mib_after[service]
            what = f"{service}: {before:.1f} MiB, after {self.seconds:.0f} s {after:.1f}: {after / before:.2f}"
            self._tell_figure(what, 1, after / before <= MOST_MEMORY)

    def training(self) -> None:
        """Crashes and kills of the real training: needs a toy_world."""
        self._crash_at(TRAINING_POINTS)
        self._storm("kills of a toy's training", KILLS, seed=self.seed, seconds=self.seconds, **TOY_STORM)

    def _tell_figure(self, what: str, times: int, reached: bool) -> None:
        self.tell(Row(what, times, self.seconds, 0, self._broken() + ([] if reached else [f"the goal: {what}"])))

    def _broken(self) -> list[str]:
        return [str(one) for one in self.judge.judge()]

    def _crash_at(self, points: Sequence[Point]) -> None:
        for point in (one for one in points if not self.only or one.name in self.only):
            for side in Side:
                began, seeds = time.monotonic(), range(self.seed, self.seed + self.crashes)
                die = partial(crash, self.world, self.client, point, side, patience=self.patience)
                healed = max(map(die, seeds))
                what = f"{point.victim} dies {side} {point.name}"
                self.tell(Row(what, len(seeds), time.monotonic() - began, healed, self._broken()))

    def _storm(self, what: str, faults: tuple[Fault, ...], **how: Any) -> None:
        """Random ones under load, see storm; each kind has a line of its own."""
        told = storm(self.world, self.client, self.judge, faults, patience=self.patience, **how)
        broken = self._broken()
        runs = ", ".join(f"{count} {kind}" for kind, count in told.runs.items())
        answers = ", ".join(f"{count} {answer}" for answer, count in sorted(told.answers.items()))
        self.tell(Row(f"{what}: {answers}", told.faults.total(), told.seconds, told.healed_seconds, broken))
        self.tell(Row(f"  {runs}", told.runs["runs"], told.seconds, told.healed_seconds, broken))
        for name, times in sorted(told.faults.items()):
            self.tell(Row(f"  {name.replace('_', ' ')}", times, told.seconds, told.healed_seconds, broken))


@contextmanager
def trying(world: World, log: Path, **how: Any) -> Iterator[Trial]:
    """A client of this world, which keeps its journal in `log`, and a judge. `how`: what a Trial has by default."""
    with (
        ClientJournal(log) as journal,
        client_of(world.trigger_url, world.secrets.gateway_secret, journal, datasets=world.datasets) as client,
    ):
        yield Trial(world, client, Judge(world.database_url, world.places, log), **how)
