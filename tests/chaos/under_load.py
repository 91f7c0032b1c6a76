"""Faults at random moments while a client asks without a pause; then everything must come to rest, and be whole."""

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import psycopg
from psycopg.rows import dict_row

from tests.chaos.dataset_server import read_served
from tests.chaos.faults import Fault
from tests.chaos.load import Client, Load, Wish
from tests.chaos.quiescence import Judge, settle
from tests.chaos.world import World

RATE = 1.0  # requests a second: two trainers, often away, keep up, so that healing is not the time of a backlog
AGAIN = 0.15  # and beside so many of them a finished run once more
# Most runs are well, one in three has its rows by URL; a few cannot succeed, and must not hold up their neighbours.
_BY_URL = (False, False, True)
INLINE = [Wish(0.1), Wish(0.3), Wish(0.6)]
WELL = [replace(wish, by_url=by_url) for wish in INLINE for by_url in _BY_URL]
BAD = [Wish(0.2, end, by_url) for end in ("refuse", "die", "hang", "poison") for by_url in _BY_URL]
WISHES = WELL * 24 + BAD


@dataclass
class Storm:
    """What happened in one."""

    faults: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)  # all, by URL, reruns; and how often a dataset was given whole
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
    again: float = AGAIN,
    patience: float = 1.0,
) -> Storm:
    """Every fault once and then at random, for `seconds`.

    AssertionError unless all is at rest within `patience` times `healed_seconds` afterwards, and requests were accepted
    and runs completed meanwhile.
    """
    chance, told, began = random.Random(seed), Storm(), time.monotonic()
    load = Load(
        client, prefix=f"storm-{seed}", per_second=per_second, seed=seed, wishes=wishes,
        again=again, completed=partial(_completed, world, f"storm-{seed}-"),
    )  # fmt: skip
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
    settle(world.database_url, seconds=patience * healed_seconds - (time.monotonic() - ended))
    told.healed_seconds = time.monotonic() - ended
    world.await_ready()
    assert _completed(world, f"storm-{seed}-"), "nothing was trained"  # who fails every run keeps all else easily
    told.runs.update(_runs(world, f"storm-{seed}-"))
    return told


def _completed(world: World, prefix: str) -> list[tuple[str, str]]:
    """kb_id and id of each; none while the database is away."""
    sql = "SELECT kb_id, id::text FROM ledger.run WHERE state = 'completed' AND starts_with(kb_id, %s)"
    try:
        with psycopg.connect(world.database_url, connect_timeout=3) as connection:
            return connection.execute(sql, [prefix]).fetchall()
    except psycopg.OperationalError:
        return []


def _runs(world: World, prefix: str) -> dict[str, int]:
    """How many there were of each kind."""
    sql = """
SELECT count(*) AS runs, count(dataset_url) FILTER (WHERE parent_run_id IS NULL) AS "by URL",
       count(parent_run_id) AS reruns, coalesce(sum(attempt), 0) AS attempts
  FROM ledger.run WHERE starts_with(kb_id, %s)"""
    with psycopg.connect(world.database_url, row_factory=dict_row) as connection:
        found = connection.execute(sql, [prefix]).fetchone()
    assert found
    given = sum(len(hashes) for name, hashes in read_served(world.served).items() if name.startswith(prefix))
    return {**found, "datasets given": given}
