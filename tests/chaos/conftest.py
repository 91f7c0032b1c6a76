"""One running system for all the short cases of this folder."""

from collections.abc import Iterator

import pytest

from tests.chaos.trial import Trial, trying
from tests.chaos.world import running_world


@pytest.fixture(scope="package")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    folder = tmp_path_factory.mktemp("chaos")
    with running_world(folder / "world") as world, trying(world, folder / "client.jsonl") as trial:
        yield trial
