"""One way through each broker for the whole session: the tests of one broker run together.

`@pytest.mark.promise(promise, *words)`: the test shows this promise of the table to be what one of these words says.
"""

import uuid
from collections.abc import Callable, Iterator

import pytest
from dapr.conf import settings as sdk
from sqlalchemy import make_url

from oncetune.local.sidecar import SidecarPorts
from tests.brokers.brokers import brokers_here, make_broker
from tests.brokers.table import KEPT, cell
from tests.brokers.way import Way
from tests.dapr.event_path import DAPR_TOKEN, free_ports


@pytest.fixture(scope="session", params=brokers_here())
def way(
    request: pytest.FixtureRequest,
    server_url: str,
    template: str,
    administer: Callable[[str], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Way]:
    name = f"brokers_{uuid.uuid4().hex}"
    administer(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
    folder = tmp_path_factory.mktemp(request.param)
    way = Way(make_broker(request.param, folder), folder, url, SidecarPorts(*free_ports(4)))
    with pytest.MonkeyPatch.context() as patch:
        # The SDK has read the environment when it was imported.
        for key, value in {
            "DAPR_HTTP_PORT": way.ports.http,
            "DAPR_GRPC_PORT": way.ports.grpc,
            "DAPR_API_TOKEN": DAPR_TOKEN,
        }.items():
            patch.setattr(sdk, key, value)
        try:
            way.broker.start()
            way.start_app()
            way.start_sidecar()
            yield way
        finally:
            way.close()
            administer(f"DROP DATABASE {name} WITH (FORCE)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "promise(promise, *words): a row of the table, and the words the test can show")


@pytest.fixture(autouse=True)
def word(request: pytest.FixtureRequest) -> str:
    """What the table says of this test's promise (the nearest, of two); a report tells it of each."""
    words = []
    for mark in request.node.iter_markers("promise"):
        promise, *shown = mark.args
        broker = request.node.callspec.params["way"]
        words.append(cell(promise, broker))
        request.node.user_properties.append(("broker", (broker, request.getfixturevalue("way").broker.runner.kind)))
        request.node.user_properties.append(("promise", (promise, broker, words[-1])))
        assert words[-1] in (shown or [KEPT]), f"no test shows {promise!r} to be {words[-1]!r}"
    return next(iter(words), "")
