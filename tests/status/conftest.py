"""The status service, asked by a signed caller."""

import pytest

from tests.serving import serving, signed


@pytest.fixture
def status(monkeypatch, database_url):
    with serving(monkeypatch, "status", database_url=database_url) as client:
        client.headers.update(signed())
        yield client
