"""What the faults cost: throughput under kills, the time until a killed trainer's run goes on, memory after a load."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.chaos.faults import Fault, pause
from tests.chaos.load import Client, Wish
from tests.chaos.load import Load as Asking
from tests.chaos.quiescence import settle
from tests.chaos.world import World
from tests.deadline import eventually

WISHES = [Wish(0.1), Wish(0.3), Wish(0.6)]
_WARM_SECONDS = 10.0  # until runs complete as fast as they come


@dataclass(frozen=True)
class Load:
    """What a load came to: runs a second, and what each process held at its two ends (kills make new processes)."""

    completed_per_second: float
    mib_before: dict[str, float]
    mib_after: dict[str, float]


def under_load(
    world: World, client: Client, kills: Sequence[Fault], *, name: str, seconds: float, per_second: float
) -> Load:
    """Ask at this rate, with one of `kills` each second; everything is at rest when it returns."""
    chance = random.Random(name)
    asking = Asking(client, prefix=name, per_second=per_second, seed=0, wishes=WISHES, patient=True)
    asking.start()
    try:
        pause(_WARM_SECONDS)
        began, before, memory = time.monotonic(), _completed(world), memory_mib(world)
        while time.monotonic() - began < seconds:
            next_second = time.monotonic() + 1
            if kills:
                chance.choice(kills)(world, chance)
            pause(max(0.0, next_second - time.monotonic()))
        rate = (_completed(world) - before) / (time.monotonic() - began)
    finally:
        asking.stop()
    settle(world.database_url, seconds=300)  # a load beyond what the trainers can do leaves a queue
    world.await_ready()
    return Load(rate, memory, memory_mib(world))


def reclaim_seconds(world: World, client: Client, name: str) -> float:
    """From the kill of a trainer at work to the start of its run's next attempt, by one clock."""
    name = f"reclaim-{name}"
    client.ask_until_known(name, Wish(seconds=1.5), tries=40)
    worker = eventually(
        lambda: _one(world, f"SELECT lease_owner FROM ledger.run WHERE kb_id = '{name}' AND renewals > 0")
    )
    killed = time.time()
    world.kill(str(worker))
    again = (
        "SELECT extract(epoch FROM occurred_at) FROM ledger.outbox JOIN ledger.run ON run.id = run_id"
        f" WHERE kb_id = '{name}' AND type = 'run.started' AND payload->>'attempt' = '2'"
    )
    started = float(eventually(lambda: _one(world, again), seconds=60))
    settle(world.database_url, seconds=60)
    world.await_ready()
    return started - killed


def memory_mib(world: World) -> dict[str, float]:
    """Resident memory of each process of ours that runs now."""
    found = {}
    for one in world.services:
        status = Path(f"/proc/{world.pid(one.name)}/status").read_text()
        kilobytes = next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]
        found[one.name] = int(kilobytes) / 1024
    return found


def _completed(world: World) -> int:
    return int(
        eventually(lambda: _one(world, "SELECT 1 + count(*) FROM ledger.run WHERE state = 'completed'"), seconds=30)
    )


def _one(world: World, sql: str) -> object:
    """The first value of the first row; None without a row, or while the database is away."""
    try:
        with psycopg.connect(world.database_url, connect_timeout=3) as connection:
            row = connection.execute(sql).fetchone()
    except psycopg.OperationalError:
        return None
    return row[0] if row else None
