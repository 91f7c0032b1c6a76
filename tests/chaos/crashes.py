"""The process dies at a named point, on one side of its effect, while requests are under way."""

import random
from concurrent.futures import ThreadPoolExecutor

from tests.chaos.crash_points import Point, Side, arm
from tests.chaos.load import Client, Wish
from tests.chaos.quiescence import settle
from tests.chaos.world import World
from tests.deadline import eventually

HEALED_SECONDS = 60.0


def crash(world: World, client: Client, point: Point, side: Side, seed: int) -> float:
    """Let it die there once; the seconds until everything was at rest again. AssertionError when nobody came by."""
    chance = random.Random(f"{point.name} {side} {seed}")
    armed = [
        arm(world.armed, name, point, side, passes=chance.randint(0, point.passes))
        for name in world.serving(point.service)
    ]
    requests = point.burst + chance.randint(0, 2)
    wishes = [Wish(seconds=chance.uniform(0.05, 0.6)) for _ in range(requests)]
    with ThreadPoolExecutor(requests) as pool:
        for number, wish in enumerate(wishes):
            name = f"{point.name}-{side}-{seed}-{number}"
            pool.submit(client.ask_until_known, name, wish, tries=40)
    try:
        eventually(lambda: not all(file.exists() for file in armed), seconds=HEALED_SECONDS)
    finally:
        for file in armed:
            file.unlink(missing_ok=True)
    took = settle(world.database_url, seconds=HEALED_SECONDS)
    world.await_ready()
    return took
