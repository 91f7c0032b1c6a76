"""Which brokers this machine has: a container where a Docker engine answers and has the image, else a package."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.brokers import packages
from tests.brokers.broker import Broker
from tests.brokers.containers import IMAGES, container_of
from tests.containers import is_offered

PACKAGES: dict[str, Callable[[Path], Broker]] = {
    "redis": packages.redis,
    "rabbitmq": packages.rabbitmq,
    "jetstream": packages.jetstream,
    "kafka": packages.kafka,
}


def make_broker(name: str, folder: Path) -> Broker:
    """It is not started yet. Raises NotHere."""
    return container_of(name) or PACKAGES[name](folder)


@cache
def missing_brokers() -> dict[str, str]:
    """What cannot be started on this machine, and what it would take."""
    needs = packages.missing_programs()
    return {name: what for name, what in needs.items() if not is_offered(*IMAGES.get(name, ()))}


def brokers_here() -> list[str]:
    """Those that the suite tests here; `ONCETUNE_TEST_BROKERS=all` makes a missing one fail."""
    wanted = os.environ.get("ONCETUNE_TEST_BROKERS") == "all"
    return [name for name in PACKAGES if wanted or name not in missing_brokers()]
