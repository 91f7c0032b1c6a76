"""A real Postgres for the whole session, a template database, and a fresh copy of it for each test.

Which Postgres: `ONCETUNE_TEST_DATABASE_URL`, else a container of `ONCETUNE_TEST_POSTGRES_IMAGE` when a Docker engine
answers and has or can pull the image, else the embedded server. The suite's header says which it was.
"""

import os
import shutil
import signal
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from sqlalchemy import Engine, make_url, text

from oncetune.logs import configure_logs
from oncetune.migrations.upgrade import upgrade
from oncetune.postgres import connect
from tests.artifacts.s3 import S3Server, s3_server, told
from tests.brokers.brokers import missing_brokers
from tests.chaos.ground import missing_parts
from tests.images.images import missing_images, tested_here
from tests.postgres import TestServer, start_server
from tests.report.browser import CHROMIUM

# The same examples every time, however slow the machine; `--hypothesis-profile=default` draws others.
hypothesis_settings.register_profile(
    "oncetune", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("oncetune")

TEMPLATE = f"oncetune_template_{os.getpid()}"


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts us in the background makes us, and every program that we start, deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    configure_logs("tests", json=True)
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    config.stash[SERVER] = start_server()


SERVER = pytest.StashKey[TestServer]()


def pytest_report_header(config: pytest.Config) -> list[str]:
    server = config.stash.get(SERVER, None)
    left_out = [f"{part} (needs {needs})" for part, needs in missing_parts().items()]
    chaos = [f"chaos: left out here: {', '.join(left_out)}"] if left_out else []
    absent = [f"{name} (needs an image or {needs})" for name, needs in missing_brokers().items()]
    brokers = [f"brokers: left out here: {', '.join(absent)}"] if absent else []
    images = [] if tested_here() else [f"images: left out here: make images (missing: {', '.join(missing_images())})"]
    alerts = [] if shutil.which("promtool") else ["helm: left out here: alerts (needs promtool)"]
    browser = [] if CHROMIUM else ["report: left out here: what a browser makes of it (needs chromium)"]
    return [f"postgres: {server.kind}", *chaos, *brokers, *images, *alerts, *browser] if server else []


def pytest_unconfigure(config: pytest.Config) -> None:
    server = config.stash.get(SERVER, None)
    if server is not None:
        server.stop()


def _on(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def server_url(pytestconfig: pytest.Config) -> str:
    """A login that may create databases and roles."""
    return pytestconfig.stash[SERVER].url


@pytest.fixture(scope="session")
def administer(server_url: str) -> Iterator[Callable[[str], None]]:
    """Run one statement outside a transaction, CREATE DATABASE say."""
    engine = connect(server_url, role=None, pool_size=1).execution_options(isolation_level="AUTOCOMMIT")

    def run(sql: str) -> None:
        with engine.connect() as connection:
            connection.execute(text(sql))

    yield run
    engine.dispose()


@pytest.fixture(scope="session")
def template(server_url: str, administer: Callable[[str], None]) -> Iterator[str]:
    """The name of a migrated, empty database."""
    administer(f"CREATE DATABASE {TEMPLATE}")
    upgrade(_on(server_url, TEMPLATE))
    yield TEMPLATE
    administer(f"DROP DATABASE {TEMPLATE} WITH (FORCE)")


@pytest.fixture
def database_url(server_url: str, template: str, administer: Callable[[str], None]) -> Iterator[str]:
    """A database of the test's own, migrated and empty."""
    name = f"test_{uuid.uuid4().hex}"
    administer(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield _on(server_url, name)
    administer(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def engine(database_url: str) -> Iterator[Callable[..., Engine]]:
    """`engine("trigger")`: a pool that acts as that service's role; `engine(None)` owns everything."""
    engines: list[Engine] = []

    def connect_as(service: str | None, pool_size: int = 5, **limits: timedelta) -> Engine:
        role = f"oncetune_{service}" if service else None
        engines.append(connect(database_url, role=role, pool_size=pool_size, **limits))
        return engines[-1]

    yield connect_as
    for one in engines:
        one.dispose()


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A real S3 server; the environment leads to it."""
    with s3_server(tmp_path / "s3") as server:
        told(monkeypatch, server)
        yield server


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own environment decides nothing."""
    for name in os.environ:
        ours = name.startswith(("ONCETUNE_", "DPO_", "DAPR_", "DATABASE_URL", "AWS_"))
        if ours and not name.startswith("ONCETUNE_TEST"):
            monkeypatch.delenv(name)
