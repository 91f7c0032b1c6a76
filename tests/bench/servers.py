"""What a bench runs against: a Postgres, a migrated database of its own, and servers in processes of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import httpx
from sqlalchemy import make_url, text

from oncetune.migrations.upgrade import upgrade
from oncetune.postgres import connect, transaction
from tests.deadline import eventually
from tests.serving import APP_TOKEN, SECRET

SERVE = [sys.executable, "-m", "oncetune.cli", "serve"]


def report(what: str, figure: str) -> None:
    print(f"{what:<72}{figure:>16}", flush=True)


@contextmanager
def database(server_url: str) -> Iterator[str]:
    """A migrated database of this run alone."""
    name = f"bench_{uuid4().hex}"
    admin = connect(server_url, role=None, pool_size=1).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
    try:
        upgrade(url)
        yield url
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


def environment(database_url: str, status_port: int) -> dict[str, str]:
    """The settings of services that hand over directly to a status service on this port."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "DATABASE_URL": database_url,
        "DPO_GATEWAY_SHARED_SECRET": SECRET,
        "APP_API_TOKEN": APP_TOKEN,
        "ONCETUNE_ENVIRONMENT": "local",
        "ONCETUNE_TRIGGER_DELIVERY": "direct",
        "ONCETUNE_TRIGGER_DIRECT_STATUS_URL": f"http://127.0.0.1:{status_port}",
    }


@contextmanager
def process(
    command: list[str], settings: dict[str, str], port: int, *, probe: str = "/ready", seconds: float = 30
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that answers its probe; its log is thrown away."""
    with subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            with httpx.Client(trust_env=False) as client:
                eventually(lambda: _answers(client, f"http://127.0.0.1:{port}{probe}"), seconds=seconds)
            yield server
        finally:
            server.terminate()


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).is_success
    except httpx.TransportError:
        return False


BARE_TABLE = """
CREATE TABLE bare (id bigserial PRIMARY KEY, body jsonb NOT NULL);
GRANT INSERT ON bare TO oncetune_trigger;
GRANT USAGE ON bare_id_seq TO oncetune_trigger;
"""


def serve_bare(port: int) -> None:
    """The yardstick: FastAPI and one INSERT of the same payload, with trigger's pool, threads and server options."""
    import anyio.to_thread
    from fastapi import FastAPI

    from oncetune.serve import run_server
    from oncetune.settings import ServiceSettings
    from oncetune.trigger.main import ROLE

    app = FastAPI()
    settings = ServiceSettings()
    engine = connect(settings.database_url, role=ROLE, pool_size=settings.threads)
    insert = text("INSERT INTO bare (body) VALUES (:body)")

    @app.get("/ready")
    async def ready() -> dict[str, str]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = settings.threads
        return {"status": "ready"}

    @app.post("/bare")
    def one_insert(body: dict[str, object]) -> dict[str, str]:
        with transaction(engine) as session:
            session.execute(insert, {"body": json.dumps(body)})
        return {"status": "queued"}

    run_server(app, host="127.0.0.1", port=port)
