import uuid
from collections.abc import Callable, Iterator

import pytest
from dapr.conf import settings  # the SDK has read the environment when it was imported
from sqlalchemy import Engine, make_url

from oncetune.dapr import Publish, sidecar_publisher
from oncetune.postgres import connect
from tests.dapr.event_path import DAPR_TOKEN, EventPath, running_event_path


@pytest.fixture(scope="session")
def journal_url(server_url: str, template: str, administer: Callable[[str], None]) -> Iterator[str]:
    """The database of the one status process of these tests; each test uses runs of its own."""
    name = f"journal_{uuid.uuid4().hex}"
    administer(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    administer(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def event_path(journal_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventPath]:
    """One for the whole session: starting it takes seconds."""
    with running_event_path(tmp_path_factory.mktemp("event-path"), journal_url) as path:
        yield path


@pytest.fixture
def publish(event_path: EventPath, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """The relay's publisher, on the sidecar of oncetune-trigger."""
    monkeypatch.setattr(settings, "DAPR_HTTP_PORT", event_path.publisher.http)
    monkeypatch.setattr(settings, "DAPR_GRPC_PORT", event_path.publisher.grpc)
    monkeypatch.setattr(settings, "DAPR_API_TOKEN", DAPR_TOKEN)
    return sidecar_publisher()


@pytest.fixture
def audit(journal_url: str) -> Iterator[Engine]:
    """The journal as its owner sees it."""
    engine = connect(journal_url, role=None, pool_size=2)
    yield engine
    engine.dispose()
