from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.serving import serving


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[httpx.Client]:
    """Trigger and status in one process, as behind one gateway."""
    with serving(monkeypatch, "trigger", "status", database_url=database_url) as client:
        yield client


@pytest.fixture
def document(client: httpx.Client) -> Any:
    """What `/openapi.json` answers, to anybody."""
    return client.get("/openapi.json").raise_for_status().json()
