from collections.abc import Iterator
from pathlib import Path

import pytest

from oncetune.local.up import Stack
from tests.stack import toy_stack


@pytest.fixture(scope="package", params=["direct", "sidecar"])
def stack(request: pytest.FixtureRequest, toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One running stack for each way that events travel; tests use knowledge bases of their own."""
    with toy_stack(tmp_path_factory.mktemp("stack"), toy_model, delivery=request.param) as running:
        yield running


@pytest.fixture(scope="package")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer model that knows nothing and trains in a blink."""
    from tests.training.toy import make_toy_model  # torch: only for who trains

    folder = tmp_path_factory.mktemp("toy")
    make_toy_model(folder)
    return folder
