"""Each fault happens: a short case that looks from outside at what it does. Those from below are in test_below.py."""

import random
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from oncetune.contracts.topics import RUN_REQUESTED
from oncetune.local.preflight import answers
from tests.chaos.faults import (
    Fault,
    away,
    broker_of,
    delete_the_groups,
    kill_a_process,
    restart_postgres,
    terminate_backends,
    trim_the_streams,
    wipe_the_broker,
)
from tests.chaos.load import Wish
from tests.chaos.quiescence import settle
from tests.chaos.trial import Trial
from tests.chaos.world import World
from tests.deadline import eventually

SEED = 311
CONSUMERS = ("daprd-status", "daprd-trainer-1", "daprd-trainer-2")
NEVER = "9999999999999-0"  # a group that has read up to here waits for nothing
# What is left of the marks below, and how the journal came by the backlog: published again, or read again.
BROKEN: dict[Fault, tuple[set[str], str]] = {
    wipe_the_broker: (set(), "published"),
    delete_the_groups: ({"key", "events"}, "read"),
    trim_the_streams: ({"key", "group"}, "published"),
}


@contextmanager
def happening(fault: Fault, world: World) -> Iterator[Future[None]]:
    """The fault goes on while inside, and is over outside."""
    with ThreadPoolExecutor(1) as beside:
        happens = beside.submit(fault, world, random.Random(SEED))
        yield happens
        happens.result()


def unmark(world: World) -> None:
    """What the test before left."""
    with broker_of(world) as broker:
        broker.delete("mark")
        broker.xgroup_destroy(RUN_REQUESTED, "mark")


def mark(world: World) -> int:
    """Leave a key, a group and, from requests before, events in the broker; how many of these."""
    unmark(world)
    with broker_of(world) as broker:
        broker.set("mark", "")
        broker.xgroup_create(RUN_REQUESTED, "mark", id=NEVER)
        return int(broker.xlen(RUN_REQUESTED))


def marks(world: World, events: int) -> set[str]:
    """Which of them are still there."""
    with broker_of(world) as broker:
        groups = broker.xinfo_groups(RUN_REQUESTED) if broker.exists(RUN_REQUESTED) else []
        left = {
            "key": broker.exists("mark"),
            "group": b"mark" in [group["name"] for group in groups],
            "events": broker.xlen(RUN_REQUESTED) >= events,
        }
    return {name for name, there in left.items() if there}


def rows(world: World, sql: str) -> list[Any]:
    with psycopg.connect(world.database_url) as connection:
        return connection.execute(sql).fetchall()


def again(world: World) -> dict[str, int]:
    """How often something was published after the first time, and read after it was journalled."""
    published = "SELECT coalesce(sum(publishes - 1), 0) FROM ledger.outbox WHERE publishes > 1"
    read = "SELECT coalesce(sum(count), 0) FROM audit.delivery WHERE outcome = 'duplicate'"
    return {"published": int(rows(world, published)[0][0]), "read": int(rows(world, read)[0][0])}


def recoveries(world: World) -> int:
    return (world.folder / "logs" / "postgres.log").read_text().count("automatic recovery in progress")


def stands_still(world: World, program: str) -> bool:
    return "State:\tT" in Path(f"/proc/{world.pid(program)}/status").read_text()


@pytest.mark.parametrize("fault", BROKEN, ids=lambda fault: fault.__name__)
def test_a_fault_of_the_broker_waits_for_a_backlog_and_takes_it_away(trial: Trial, fault: Fault):
    world, (left, way) = trial.world, BROKEN[fault]
    for number in range(3):
        trial.client.ask_until_known(f"{fault.__name__}-before-{number}", Wish(), tries=10)
    settle(world.database_url, seconds=60)
    events, before = mark(world), again(world)

    with happening(fault, world) as happens:
        eventually(lambda: all(stands_still(world, program) for program in CONSUMERS))
        assert marks(world, events) == {"key", "group", "events"}
        assert not happens.done(), "nothing is on its way"
        trial.client.ask_until_known(fault.__name__, Wish(), tries=10)

    assert marks(world, events) == left
    assert not any(stands_still(world, program) for program in CONSUMERS)
    settle(world.database_url, seconds=60)
    eventually(lambda: again(world)[way] > before[way])
    assert trial.judge.judge() == []


def test_a_restarted_postgres_is_another_process(trial: Trial):
    started, recovered = rows(trial.world, "SELECT pg_postmaster_start_time()"), recoveries(trial.world)

    restart_postgres(trial.world, random.Random(SEED))

    assert rows(trial.world, "SELECT pg_postmaster_start_time()") > started
    assert recoveries(trial.world) == recovered + 1, "its shutdown was in order"
    trial.world.await_ready()


def test_terminated_backends_are_those_of_every_service(trial: Trial):
    clients = "SELECT pid, backend_start FROM pg_stat_activity WHERE state IS NOT NULL AND pid <> pg_backend_pid()"
    trial.world.await_ready()  # each service asks by a connection of its own
    before = set(rows(trial.world, clients))
    assert len(before) >= len(trial.world.services)

    terminate_backends(trial.world, random.Random(SEED))

    eventually(lambda: before.isdisjoint(rows(trial.world, clients)))
    trial.world.await_ready()


def test_a_killed_process_is_started_again_as_another(trial: Trial):
    before = trial.world.processes.pids()

    kill_a_process(trial.world, random.Random(SEED))

    changed = eventually(lambda: set(before.items()) - set(trial.world.processes.pids().items()))
    assert len(changed) == 1
    [(program, pid)] = changed
    assert program != "postgres"
    assert eventually(lambda: trial.world.pid(program)) != pid
    trial.world.await_ready()


def test_a_program_that_is_away_answers_nobody_until_the_fault_is_over(trial: Trial):
    url, before = trial.world.named("status").url, trial.world.pid("status")
    assert answers(url, "/live")

    with happening(away("status", 3), trial.world) as happens:
        eventually(lambda: not answers(url, "/live"))
        while not happens.done():
            assert not answers(url, "/live")

    assert trial.world.pid("status") != before
    eventually(lambda: answers(url, "/live"), seconds=60)
    trial.world.await_ready()
