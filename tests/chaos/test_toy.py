"""The real training under the same faults: a toy model, in a system of its own, with a checkpoint after every step."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.chaos.crash_points import TRAINING_POINTS, Point, Side
from tests.chaos.crashes import crash
from tests.chaos.faults import kill_a_child, kill_a_process
from tests.chaos.toy_world import toy_world
from tests.chaos.trial import Trial, trying
from tests.chaos.under_load import INLINE, storm
from tests.stack import shared_toy_model

SEED = 7
RESUMED = "SELECT FROM audit.journal WHERE (event->'data'->>'resumed_from_step')::int > 0"


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    folder = tmp_path_factory.mktemp("toy")
    model = shared_toy_model(tmp_path_factory)
    with toy_world(folder / "world", model) as world, trying(world, folder / "client.jsonl") as trial:
        yield trial


def _resumed(toy: Trial) -> int:
    with psycopg.connect(toy.world.database_url) as connection:
        return connection.execute(RESUMED).rowcount


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("point", TRAINING_POINTS, ids=lambda point: point.name)
def test_a_training_that_dies_at_this_point_goes_on_from_a_whole_checkpoint(toy: Trial, point: Point, side: Side):
    before = _resumed(toy)

    crash(toy.world, toy.client, point, side, SEED)

    assert toy.judge.judge() == []
    assert _resumed(toy) > before or side is Side.BEFORE, "its checkpoint was there"


def test_a_storm_of_kills_loses_no_run_of_the_real_training_and_doubles_none(toy: Trial):
    kills = (kill_a_process, kill_a_child, kill_a_child)

    told = storm(
        toy.world,
        toy.client,
        toy.judge,
        kills,
        seed=SEED,
        seconds=20,
        per_second=0.2,
        pause=(2.0, 6.0),
        healed_seconds=120,
        wishes=INLINE,
        again=0.0,
    )

    assert toy.judge.judge() == []
    assert told.answers["accepted"] > 2
