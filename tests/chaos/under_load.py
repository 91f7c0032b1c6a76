"""Faults at random moments while a client asks without a pause; then everything must come to rest, and be whole."""

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg

from tests.chaos.faults import Fault
from tests.chaos.load import Client, Load, Wish
from tests.chaos.quiescence import Judge, settle
from tests.chaos.world import World

RATE = 1.0  # requests a second: two trainers, often away, keep up, so that healing is not the time of a backlog
# Most runs are well; a few cannot succeed, and must not hold up their neighbours.
WELL = [Wish(0.1), Wish(0.3), Wish(0.6)]
WISHES = WELL * 24 + [Wish(0.2, end) for end in ("refuse", "die", "hang", "poison")]


@dataclass
class Storm:
    """What happened in one."""

    faults: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    healed_seconds: float = 0.0  # from the end of the last fault until everything was at rest


def storm(
    world: World,
    client: Client,
    judge: Judge,
    faults: Sequence[Fault],
    *,
    seed: int,
    seconds: float,
    per_second: float = RATE,
    pause: tuple[float, float] = (0.3, 1.5),
    healed_seconds: float = 60.0,
    wishes: Sequence[Wish] = WISHES,
) -> Storm:
    """Every fault once and then at random, for `seconds`.

    AssertionError unless all is at rest in time afterwards, and requests were accepted and runs completed meanwhile.
    """
    chance, told, began = random.Random(seed), Storm(), time.monotonic()
    load = Load(client, prefix=f"storm-{seed}", per_second=per_second, seed=seed, wishes=wishes)
    load.start()
    try:
        waiting = list(faults)
        while waiting or time.monotonic() - began < seconds:
            fault = waiting.pop() if waiting else chance.choice(faults)
            fault(world, chance)
            told.faults[fault.__name__] += 1
            threading.Event().wait(chance.uniform(*pause))
            judge.look_if_it_answers()
    finally:
        ended = time.monotonic()
        load.stop()
    told.answers.update(str(answer) for answer in load.answers)
    assert told.answers["accepted"], "nothing was at stake"
    told.seconds = time.monotonic() - began
    settle(world.database_url, seconds=healed_seconds - (time.monotonic() - ended))
    told.healed_seconds = time.monotonic() - ended
    world.await_ready()
    assert _completed(world, f"storm-{seed}-"), "nothing was trained"
    return told


def _completed(world: World, prefix: str) -> int:
    """A system that fails every run keeps its other promises easily."""
    with psycopg.connect(world.database_url) as connection:
        sql = "SELECT FROM ledger.run WHERE state = 'completed' AND starts_with(kb_id, %s)"
        return connection.execute(sql, [prefix]).rowcount
