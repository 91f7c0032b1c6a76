"""A short, seeded case of each fault from below. What this machine cannot have is named in the suite's header."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import psycopg
import pytest

from oncetune.ledger.leases import StrikeRule
from tests.chaos.below import (
    BELOW,
    CLOCK_OFF_SECONDS,
    cut_lines,
    full_artifacts,
    full_postgres,
    jumping_clock,
    late_and_doubled_deliveries,
    lost_packets,
    offered,
    one_way_packets,
)
from tests.chaos.faults import Fault
from tests.chaos.ground import Part, missing_parts
from tests.chaos.load import Wish
from tests.chaos.quiescence import settle
from tests.chaos.trial import Trial
from tests.chaos.under_load import WELL, storm
from tests.chaos.world import World
from tests.deadline import eventually

SEED = 199
OFFERED = offered()


def packets(world: World) -> int:
    assert world.ground.network
    return world.ground.network.dropped


def doubled(world: World) -> int:
    return sum(line.deliveries.doubled for line in world.ground.lines.values())


def wrong_times(world: World) -> int:
    """Log lines of a trainer that name another time than the lines of the others can."""
    logs = [world.folder / "logs" / f"{name}.log" for name in (*world.ground.clocks, "trigger")]
    moved, right = (
        [datetime.fromisoformat(json.loads(line)["ts"]) for line in log.read_text().splitlines()] for log in logs
    )
    off = timedelta(seconds=CLOCK_OFF_SECONDS / 2)
    return sum(not right[0] - off < one < right[-1] + off for one in moved)


def not_stored(world: World) -> int:
    with psycopg.connect(world.database_url) as connection:
        sql = "SELECT FROM ledger.outbox WHERE type = 'run.requeued' AND payload->>'reason' = 'not_stored'"
        return connection.execute(sql).rowcount


def refused_writes(world: World) -> int:
    return (world.folder / "logs" / "postgres.log").read_text().count("No space left on device")


def ends(world: World, seed: int) -> set[tuple[str, int, int]]:
    """Of the runs of one storm: their states, how many attempts they took, and how many of these were strikes."""
    with psycopg.connect(world.database_url) as connection:
        sql = "SELECT state, attempt, strikes FROM ledger.run WHERE kb_id LIKE %s"
        return set(connection.execute(sql, [f"storm-{seed}-%"]).fetchall())


TRACES: dict[Fault, Callable[[World], int]] = {
    late_and_doubled_deliveries: doubled,
    jumping_clock: wrong_times,
    lost_packets: packets,
    one_way_packets: packets,
    cut_lines: packets,
    full_artifacts: not_stored,
    full_postgres: refused_writes,
}


@pytest.mark.parametrize("fault", OFFERED, ids=lambda fault: fault.__name__)
def test_this_fault_under_load_loses_nothing_and_doubles_nothing(trial: Trial, fault: Fault):
    seed = SEED + 1 + OFFERED.index(fault)  # each asks for runs of its own
    before = TRACES[fault](trial.world)

    storm(trial.world, trial.client, trial.judge, (fault,), seed=seed, seconds=0, wishes=WELL)

    assert trial.judge.judge() == []
    states, attempts, strikes = zip(*ends(trial.world, seed), strict=True)
    assert set(states) == {"completed"}, "nothing of this is a run's own fault"
    assert max(strikes) < StrikeRule().max_strikes, "it would have failed, had it no more than usual"
    ends_attempts = BELOW[fault] in (Part.NETWORK, Part.DISKS)
    assert max(attempts) == 1 or ends_attempts, "neither a clock nor a repeat ends an attempt"
    assert TRACES[fault](trial.world) > before, "the fault did nothing"


@pytest.mark.parametrize("disk", ["artifacts"] * (Part.DISKS not in missing_parts()))
def test_a_disk_that_stays_full_for_more_attempts_than_a_run_has_strikes_fails_no_run(trial: Trial, disk: str):
    before = not_stored(trial.world)

    with trial.world.ground.disks[disk].full():
        for number in range(2):
            trial.client.ask_until_known(f"storm-{SEED}-{number}", Wish(), tries=10)
        eventually(lambda: not_stored(trial.world) >= before + 8, seconds=30)

    settle(trial.world.database_url, seconds=30)
    assert trial.judge.judge() == []
    assert {(state, strikes) for state, _, strikes in ends(trial.world, SEED)} == {("completed", 0)}
