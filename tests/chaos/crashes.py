"""The process dies at a named point, on one side of its effect, while requests are under way."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.chaos.crash_points import Point, Side, arm
from tests.chaos.load import Client, Wish
from tests.chaos.quiescence import settle
from tests.chaos.world import World
from tests.deadline import eventually

_MOST_BURSTS = 20


def crash(world: World, client: Client, point: Point, side: Side, seed: int, *, patience: float = 1.0) -> float:
    """Let it die there once; the seconds until everything was at rest again. AssertionError when nobody comes by, or it
    takes `patience` times longer than the point says.
    """
    chance = random.Random(f"{point.name} {side} {seed}")
    names = world.serving(point.service) or (point.service,)
    armed = [arm(world.armed, name, point, side, passes=chance.randint(0, point.most_passes)) for name in names]
    try:
        _ask_until(
            lambda: not all(file.exists() for file in armed), client, point, f"{point.name}-{side}-{seed}", chance
        )
    finally:
        for file in armed:
            file.unlink(missing_ok=True)
    took = settle(world.database_url, seconds=patience * point.healed_seconds)
    world.await_ready()
    return took


def _ask_until(died: Callable[[], bool], client: Client, point: Point, name: str, chance: random.Random) -> None:
    """Bursts of requests, each repeated until it is answered."""
    with ThreadPoolExecutor(point.burst) as pool:
        for burst in range(_MOST_BURSTS):
            wishes = [Wish(chance.uniform(0.05, 0.6), by_url=point.by_url) for _ in range(point.burst)]
            asked = [
                pool.submit(client.ask_until_known, f"{name}-{burst}-{number}", wish, tries=40)
                for number, wish in enumerate(wishes)
            ]
            try:
                eventually(died, seconds=point.patience)
                return
            except AssertionError:
                for one in asked:
                    one.result()
    raise AssertionError(f"nobody came by {point.name}")
