from collections.abc import Iterator

import pytest

from oncetune.local.up import Stack
from tests.stack import shared_toy_model, toy_stack


@pytest.fixture(scope="package", params=["direct", "sidecar"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One running stack for each way that events travel; tests use knowledge bases of their own."""
    model = shared_toy_model(tmp_path_factory)
    with toy_stack(tmp_path_factory.mktemp("stack"), model, delivery=request.param) as running:
        yield running
