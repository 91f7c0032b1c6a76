from collections.abc import Callable, Iterator
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine

from tests.ledger.conftest import big_rows
from tests.ledger.given import record
from tests.serving import serving

__all__ = ["big_rows"]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[httpx.Client]:
    """Trigger and status in one process, as on one machine."""
    with serving(monkeypatch, "trigger", "status", database_url=database_url) as client:
        yield client


@pytest.fixture
def run_id(engine: Callable[[str], Engine]) -> UUID:
    return record(engine("trigger")).run_id
