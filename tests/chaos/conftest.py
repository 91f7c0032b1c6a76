"""One running system for all the short cases of this folder."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.chaos.client_journal import ClientJournal
from tests.chaos.load import Client, client_of
from tests.chaos.quiescence import Judge
from tests.chaos.world import World, running_world


@dataclass(frozen=True)
class Trial:
    """A running system and who tries it."""

    world: World
    client: Client
    judge: Judge


@pytest.fixture(scope="package")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    folder = tmp_path_factory.mktemp("chaos")
    log = folder / "client.jsonl"
    with (
        running_world(folder / "world") as world,
        ClientJournal(log) as journal,
        client_of(world.trigger_url, world.secrets.gateway_secret, journal) as client,
    ):
        yield Trial(world, client, Judge(world.database_url, world.artifacts, log))
