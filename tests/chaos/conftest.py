"""One running system for all the short cases of this folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
    with running_world(folder / "world") as world, trying(world, folder / "client.jsonl") as trial:
        yield trial


@contextmanager
def trying(world: World, log: Path) -> Iterator[Trial]:
    """A client of this world, which keeps its journal in `log`."""
    with (
        ClientJournal(log) as journal,
        client_of(world.trigger_url, world.secrets.gateway_secret, journal) as client,
    ):
        yield Trial(world, client, Judge(world.database_url, world.artifacts, log))
