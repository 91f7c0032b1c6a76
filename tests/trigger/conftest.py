from collections.abc import Iterator

import httpx
import pytest

from tests.serving import serving


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[httpx.Client]:
    """Trigger and status in one process, as on one machine."""
    with serving(monkeypatch, "trigger", "status", database_url=database_url) as client:
        yield client
