"""One process, one or more services: compose their routes, subscriptions and loops, and serve them.

Each service's `main.py` has two functions: `mount(app, dapr)` adds routes and subscriptions, `running(app)` is a
context manager around its engine and loops. The trainer is served alone: with status in one process both would
consume `run.requested` as one Dapr application, and each event would reach only one of them.
"""

import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

import anyio.to_thread
import uvicorn
from dapr.ext.fastapi import DaprApp
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from psycopg.errors import InsufficientPrivilege, UndefinedTable
from pydantic import ValidationError
from sqlalchemy import text
from sqlalchemy.exc import ArgumentError, ProgrammingError

from oncetune import health, scrape
from oncetune.contracts.topics import app_id
from oncetune.dapr import DELIVERY_PATHS, RequireAppToken
from oncetune.gateway.crowd import BoundedCrowd
from oncetune.gateway.errors import answer_refusals
from oncetune.gateway.http1 import Http1
from oncetune.gateway.openapi import describe_api
from oncetune.logs import configure_logs, log
from oncetune.migrations import revision
from oncetune.postgres import DATABASE_AWAY, connect
from oncetune.scrape import MeasureHttp, Telemetry
from oncetune.status import main as status
from oncetune.status.links import DOWNLOADS
from oncetune.tracing import CarryTrace, native_telemetry, set_export_defaults
from oncetune.trainer import main as trainer
from oncetune.trigger import main as trigger

SERVICES = {"trigger": trigger, "status": status, "trainer": trainer}
# Neither counted into the crowd nor traced: the sidecar bounds its deliveries, and an event brings its own trace;
# downloads have seats of their own, and whoever sees a link can repeat it.
_NO_CALLER = (*DELIVERY_PATHS, *health.PATHS, scrape.PATH, DOWNLOADS)
# Of uvicorn. Without a bound it waits for ever for a caller who comes while it closes: it tells only those to leave
# whom it knows by then (0.54).
SERVER: dict[str, Any] = {"http": Http1, "log_config": None, "access_log": False, "timeout_graceful_shutdown": 10}
_NO_POSTGRES = "DATABASE_URL is not a Postgres URL; it looks like postgresql://user:password@host:5432/database"
_NO_SCHEMA = "the database has no tables of oncetune yet; run `oncetune migrate` as the database's owner"


class BadService(ValueError):
    """These services cannot be served by one process; the message says which can."""


def create_app(names: tuple[str, ...], *, port: int | None = None) -> FastAPI:
    """The app of these services, which shall listen on `port`. Settings are read when it starts, not before."""
    _check_names(names)
    app = FastAPIOffline(  # the page at /docs comes whole from this process
        redoc_url=None,
        static_url="/docs/static",
        title="oncetune " + " and ".join(names),
        version=version("oncetune"),
        lifespan=partial(_running, names),
        redirect_slashes=False,  # a redirect would lead past the gateway, to this service's own address
        telemetry=native_telemetry(_untraced),
    )
    answer_refusals(app)
    describe_api(app)
    app.include_router(health.routes)
    app.include_router(scrape.routes)
    app.state.telemetry = Telemetry(names)
    dapr = DaprApp(app)
    for name in names:
        SERVICES[name].mount(app, dapr)
    app.state.port = port
    app.state.app_token = _app_token()
    app.add_middleware(BoundedCrowd, free=_NO_CALLER)
    app.add_middleware(RequireAppToken, token=app.state.app_token)
    app.add_middleware(CarryTrace, untraced=_untraced)
    app.add_middleware(MeasureHttp, service=app.state.telemetry.name)
    return app


@asynccontextmanager
async def _running(names: tuple[str, ...], app: FastAPI) -> AsyncIterator[None]:
    """The app's lifespan: settings are read, then each service runs inside those before it."""
    modules = [SERVICES[name] for name in names]
    settings = modules[0].SETTINGS[0]()
    anyio.to_thread.current_default_thread_limiter().total_tokens = settings.threads
    app.state.requests = settings.requests
    with ExitStack() as services:
        for module in modules:
            services.enter_context(module.running(app))
        log.info("service.started", services=list(names), app_id=app_id(names))
        yield
        log.info("service.stopping", services=list(names))


def _check_names(names: tuple[str, ...]) -> None:
    if not names or set(names) - set(SERVICES) or len(set(names)) != len(names):
        raise BadService(f"choose from {', '.join(SERVICES)}")
    if "trainer" in names and len(names) > 1:
        raise BadService("serve the trainer in a process of its own")


def _untraced(path: str) -> bool:
    return path.startswith(_NO_CALLER)


def _app_token() -> str:
    token = os.environ.get("APP_API_TOKEN", "")
    if not token:
        raise BadService("set APP_API_TOKEN: the sidecar (or the direct hand-over) proves itself with it")
    return token


def check_settings(names: tuple[str, ...]) -> None:
    """Raise BadService with one line for each setting of these services that is missing or wrong, never its value."""
    wrong: dict[str, str] = {}
    for kind in (kind for name in names for kind in SERVICES[name].SETTINGS):
        try:
            kind()
        except ValidationError as error:
            prefix = kind.model_config.get("env_prefix", "")
            for one in error.errors(include_input=False):
                field = ".".join(str(part) for part in one["loc"])
                wrong[field if field.isupper() else prefix + field.upper()] = one["msg"]
    if wrong:
        raise BadService("; ".join(f"{setting}: {reason}" for setting, reason in sorted(wrong.items())))


def require_schema(names: tuple[str, ...]) -> None:
    """Raise BadService when the database answers and its schema is none of ours, or that of an older version.

    And when DATABASE_URL is no URL of a Postgres. One that is away is waited for later; a newer version's schema will
    do, since migrations only widen.
    """
    try:
        engine = connect(SERVICES[names[0]].SETTINGS[0]().database_url, role=None, pool_size=0)
    except ArgumentError as error:
        raise BadService(_NO_POSTGRES) from error
    try:
        with engine.connect() as connection:
            known = connection.execute(text("SELECT FROM pg_namespace WHERE nspname = 'ledger'")).one_or_none()
            found = revision.found(connection) if known is not None else None
    except DATABASE_AWAY:
        return
    except ProgrammingError as error:
        if isinstance(error.orig, InsufficientPrivilege):  # it has tables, then; their version is not ours to read
            return
        raise BadService(_NO_SCHEMA if isinstance(error.orig, UndefinedTable) else _NO_POSTGRES) from error
    if known is None:
        raise BadService(_NO_SCHEMA)
    if found is None or found < revision.needed():
        needs = f"the database's schema is at {found}, {revision.needed()} is needed"
        raise BadService(f"{needs}; run `oncetune migrate` as the database's owner")


def serve(names: tuple[str, ...], *, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; returns after every loop has ended. Raises BadService."""
    _check_names(names)
    configure_logs("+".join(names))
    set_export_defaults(app_id(names))
    app = create_app(names, port=port)
    check_settings(names)
    require_schema(names)
    run_server(app, host=host, port=port)


def run_server(app: FastAPI, *, host: str, port: int) -> None:
    """The HTTP server as all our services have it; returns once it has stopped."""
    uvicorn.run(app, host=host, port=port, **SERVER)
