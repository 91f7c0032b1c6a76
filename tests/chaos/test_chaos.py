"""A short, seeded run of what `make chaos` does for as long as it is told: see tests/chaos/__main__.py."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.chaos.client_journal import ClientJournal
from tests.chaos.crash_points import POINTS, Point, Side
from tests.chaos.crashes import crash
from tests.chaos.faults import FAULTS
from tests.chaos.load import Client, client_of
from tests.chaos.quiescence import Judge
from tests.chaos.under_load import storm
from tests.chaos.world import World, running_world

SEED = 7


@dataclass(frozen=True)
class Trial:
    world: World
    client: Client
    judge: Judge


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    folder = tmp_path_factory.mktemp("chaos")
    log = folder / "client.jsonl"
    with (
        running_world(folder / "world") as world,
        ClientJournal(log) as journal,
        client_of(world.trigger_url, world.secrets.gateway_secret, journal) as client,
    ):
        yield Trial(world, client, Judge(world.database_url, world.artifacts, log))


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_a_crash_at_this_point_loses_nothing_and_doubles_nothing(trial: Trial, point: Point, side: Side):
    crash(trial.world, trial.client, point, side, SEED)

    assert trial.judge.judge() == []


def test_random_faults_under_load_lose_nothing_and_double_nothing(trial: Trial):
    told = storm(trial.world, trial.client, trial.judge, FAULTS, seed=SEED, seconds=30)

    assert trial.judge.judge() == []
    assert told.answers["accepted"] > 20
