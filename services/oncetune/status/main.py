"""Status's wiring: settings, engine, subscriptions, routes. It has no loops."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

from dapr.ext.fastapi import DaprApp
from fastapi import FastAPI

from oncetune.gateway.errors import answer_with
from oncetune.gateway.settings import GatewaySettings
from oncetune.health import Health, database_check, schema_report, tell
from oncetune.postgres import connect
from oncetune.scrape import STATEMENT_TIMEOUT as SCRAPE_TIMEOUT
from oncetune.status.artifact_routes import routes as artifact_routes
from oncetune.status.dataset_routes import dataset_routes
from oncetune.status.dead_letter_routes import dead_letter_routes
from oncetune.status.links import Downloads
from oncetune.status.measure import measure
from oncetune.status.routes import routes
from oncetune.status.settings import StatusSettings
from oncetune.status.subscriptions import subscribe

SETTINGS = (StatusSettings, GatewaySettings)
ROLE = "oncetune_status"
# Waiting for a connection (5 s) and two statements end before the sidecar's patience does (20 s).
STATEMENT_TIMEOUT = timedelta(seconds=7)


def mount(app: FastAPI, dapr: DaprApp) -> None:
    """Add the subscriptions and the routes."""
    subscribe(app, dapr)
    app.include_router(routes)
    app.include_router(dataset_routes)
    app.include_router(artifact_routes)
    app.include_router(dead_letter_routes)


@contextmanager
def running(app: FastAPI) -> Iterator[None]:
    """Serve with settings from the environment; on exit the engine is closed."""
    settings = StatusSettings()
    app.state.gateway = GatewaySettings()
    app.state.downloads = downloads = Downloads.of_settings(
        settings, app.state.gateway, port=getattr(app.state, "port", None)
    )
    app.state.download_seats = asyncio.Semaphore(settings.downloads_at_once)
    app.state.download_deadline = settings.download_deadline
    engine = connect(settings.database_url, role=ROLE, pool_size=settings.threads, statement_timeout=STATEMENT_TIMEOUT)
    app.state.status = engine
    answer_with(app, engine)
    scrapes = connect(settings.database_url, role=ROLE, pool_size=0, statement_timeout=SCRAPE_TIMEOUT)
    app.state.telemetry.read = partial(measure, scrapes)
    app.state.telemetry.pools["status"] = engine
    own: dict[str, Callable[[], object]] = {"artifacts": downloads.kind}
    tell(app, Health(settings.environment, database_check(engine), {"schema": schema_report(engine)}, own))
    try:
        yield
    finally:
        engine.dispose()
