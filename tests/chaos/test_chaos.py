"""A short, seeded run of what `make chaos` does for as long as it is told: see tests/chaos/__main__.py."""

import pytest

from tests.chaos.conftest import Trial
from tests.chaos.crash_points import POINTS, Point, Side
from tests.chaos.crashes import crash
from tests.chaos.faults import FAULTS
from tests.chaos.under_load import storm

SEED = 7


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_a_crash_at_this_point_loses_nothing_and_doubles_nothing(trial: Trial, point: Point, side: Side):
    crash(trial.world, trial.client, point, side, SEED)

    assert trial.judge.judge() == []


def test_random_faults_under_load_lose_nothing_and_double_nothing(trial: Trial):
    told = storm(trial.world, trial.client, trial.judge, FAULTS, seed=SEED, seconds=30)

    assert trial.judge.judge() == []
    assert told.answers["accepted"] > 20
