"""A short, seeded run of what `make chaos` does for as long as it is told: see tests/chaos/__main__.py."""

import random
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from oncetune.ledger.leases import StrikeRule
from tests.chaos.crash_points import POINTS, Point, Side
from tests.chaos.crashes import crash
from tests.chaos.faults import FAULTS, Fault, kill_a_child, stop_a_trainer
from tests.chaos.load import Wish
from tests.chaos.quick import BAD_STRIKES, MAX_STRIKES
from tests.chaos.quiescence import settle
from tests.chaos.trial import Trial
from tests.chaos.under_load import storm
from tests.chaos.world import World

SEED = 7
BAD_ENDS = ("die", "hang", "poison", "refuse")


def ends(world: World, prefix: str) -> list[tuple[str, int, int]]:
    """State, attempts and strikes of the runs whose names begin so, in the order of their names."""
    sql = "SELECT state, attempt, strikes FROM ledger.run WHERE starts_with(kb_id, %s) ORDER BY kb_id"
    with psycopg.connect(world.database_url) as connection:
        return connection.execute(sql, [prefix]).fetchall()


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_a_crash_at_this_point_loses_nothing_and_doubles_nothing(trial: Trial, point: Point, side: Side):
    crash(trial.world, trial.client, point, side, SEED)

    assert trial.judge.judge() == []


@pytest.mark.parametrize("fault", [kill_a_child, stop_a_trainer])
def test_a_fault_that_needs_somebody_at_work_waits_for_it(trial: Trial, fault: Fault):
    with ThreadPoolExecutor(1) as beside:
        done = beside.submit(fault, trial.world, random.Random(SEED))
        trial.client.ask_until_known(fault.__name__, Wish(seconds=1.5), tries=10)
        done.result()
    settle(trial.world.database_url, seconds=60)

    with psycopg.connect(trial.world.database_url) as connection:
        runs = connection.execute("SELECT state, attempt FROM ledger.run WHERE kb_id = %s", [fault.__name__]).fetchall()
    assert runs == [("completed", 2)]
    assert trial.judge.judge() == []


def test_a_storm_in_which_no_run_completed_proves_nothing(trial: Trial):
    refused = [Wish(0.1, "refuse")]

    with pytest.raises(AssertionError, match="nothing was trained"):
        storm(trial.world, trial.client, trial.judge, [kill_a_child], seed=SEED + 1, seconds=0, wishes=refused)


def test_kills_that_strike_a_run_more_often_than_usual_fail_none_that_is_well(trial: Trial):
    kills, seed = (kill_a_child,) * 30, SEED + 2

    storm(
        trial.world, trial.client, trial.judge, kills,
        seed=seed, seconds=0, per_second=0.5, pause=(0.1, 0.5), wishes=[Wish(0.6)],
    )  # fmt: skip

    assert trial.judge.judge() == []
    assert max(strikes for _, _, strikes in ends(trial.world, f"storm-{seed}-")) >= StrikeRule().max_strikes


def test_a_run_that_cannot_succeed_fails_although_others_have_strikes_enough(trial: Trial):
    for end in BAD_ENDS:
        trial.client.ask_until_known(f"bad-{end}", Wish(0.2, end), tries=10)

    settle(trial.world.database_url, seconds=60)
    assert trial.judge.judge() == []
    struck_out, refused = ("failed", BAD_STRIKES, MAX_STRIKES), ("failed", 1, MAX_STRIKES - BAD_STRIKES)
    assert ends(trial.world, "bad-") == [struck_out, struck_out, struck_out, refused]


def test_random_faults_under_load_lose_nothing_and_double_nothing(trial: Trial):
    told = storm(trial.world, trial.client, trial.judge, FAULTS, seed=SEED, seconds=30)

    assert trial.judge.judge() == []
    assert told.answers["accepted"] > 20
