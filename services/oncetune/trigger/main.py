"""Trigger's wiring: settings, engines, routes, loops."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from functools import partial

import httpx
from dapr.ext.fastapi import DaprApp
from fastapi import FastAPI
from pydantic import ValidationError
from sqlalchemy import Engine

from oncetune.dapr import Publish, direct_publisher, require_sidecar, sidecar_publisher
from oncetune.gateway.errors import answer_with
from oncetune.gateway.openapi import add_schemas
from oncetune.gateway.public_url import public_base_url
from oncetune.gateway.registration import Registration, RegistrationState
from oncetune.gateway.settings import GatewaySettings, RegistrationSettings
from oncetune.health import Health, database_check, schema_report, tell
from oncetune.ledger.outbox import Pace, backlog
from oncetune.postgres import connect, transaction
from oncetune.trigger.downloads import downloads
from oncetune.trigger.expiry import expire
from oncetune.trigger.openapi import body_schemas
from oncetune.trigger.publishing import Publishing
from oncetune.trigger.relay import relay
from oncetune.trigger.rerun import reruns
from oncetune.trigger.routes import routes
from oncetune.trigger.settings import TriggerSettings
from oncetune.trigger.state import LOCK_TIMEOUT, TriggerState
from oncetune.trigger.sweep import sweep

SETTINGS = (TriggerSettings, GatewaySettings)  # wrong ones of these stop the start; registration's do not
ROLE = "oncetune_trigger"
SIDECAR_PATIENCE = timedelta(seconds=0.5)  # of `/health`, whose checks have 2 s each


def mount(app: FastAPI, _dapr: DaprApp) -> None:
    """Trigger publishes and subscribes to nothing."""
    app.include_router(routes)
    app.include_router(downloads)
    app.include_router(reruns)


@contextmanager
def _publisher(settings: TriggerSettings, app_token: str) -> Iterator[Publish]:
    if settings.delivery == "sidecar":
        yield sidecar_publisher()
        return
    assert settings.direct_status_url is not None
    with direct_publisher(settings.direct_status_url, settings.direct_trainer_urls, app_token) as publish:
        yield publish


def _sidecar(settings: TriggerSettings) -> str:
    """What `/health` tells of it; events wait in the ledger while it is away, so it makes nothing unhealthy."""
    if settings.delivery == "direct":
        return "none"
    try:
        require_sidecar(SIDECAR_PATIENCE)
    except httpx.HTTPError:
        return "disconnected"
    return "connected"


def _backlog(engine: Engine, pace: Pace) -> object:
    with transaction(engine) as session:
        return {name: value for name, value in asdict(backlog(session, pace)).items() if name != "oldest"}


@contextmanager
def running(app: FastAPI) -> Iterator[None]:
    """Serve with settings from the environment; on exit the loops have ended and the engines are closed."""
    settings = TriggerSettings()
    app.state.gateway = GatewaySettings()
    registration, public_url = _registration(app)
    engine = connect(settings.database_url, role=ROLE, pool_size=settings.threads, lock_timeout=LOCK_TIMEOUT)
    loops = connect(settings.database_url, role=ROLE, pool_size=settings.loop_connections)
    crowds = (settings.waiting_requests, settings.parsed_at_once, settings.downloads_at_once)
    seats, readers, downloading = map(asyncio.Semaphore, crowds)
    state = TriggerState(settings, engine, seats, readers, downloading, public_url)
    app.state.trigger = state
    answer_with(app, engine)
    app.state.telemetry.pools |= {"trigger": engine, "loops": loops}
    add_schemas(app, body_schemas(settings.models))
    details = {
        "delivery": lambda: settings.delivery,
        "sidecar": lambda: _sidecar(settings),
        "outbox": lambda: _backlog(loops, settings.pace),
        "schema": schema_report(loops),
    }
    try:
        with _publisher(settings, app.state.app_token) as publisher:
            publish = Publishing(publisher)
            own = {"registration": registration.report, "publishing": publish.report}
            tell(app, Health(settings.environment, database_check(loops), details, own))
            with _loops(loops, publish, state, registration):
                yield
    finally:
        loops.dispose()
        engine.dispose()


def registration_settings(app: FastAPI) -> RegistrationSettings:
    """From the environment, with the port that this process listens on."""
    port: int | None = getattr(app.state, "port", None)  # `serve` knows it; the environment may say another
    return RegistrationSettings() if port is None else RegistrationSettings(port=port)


def _registration(app: FastAPI) -> tuple[Registration, str | None]:
    """The registration, and the public URL where one is known."""
    try:
        settings = registration_settings(app)
    except ValidationError as error:
        return Registration.unreadable(error), None
    return Registration(settings), public_base_url(settings)


@contextmanager
def _loops(engine: Engine, publish: Publish, state: TriggerState, registration: Registration) -> Iterator[None]:
    settings, stop = state.settings, threading.Event()
    relay_every, expire_every, sweep_every = (
        pause.total_seconds() for pause in (settings.relay_every, settings.expire_every, settings.sweep_every)
    )
    loops = {
        "relay": partial(relay, engine, publish, settings.pace, wake=state.wake_relay, stop=stop, every=relay_every),
        "expiry": partial(expire, engine, settings.strikes, batch=settings.expire_batch, stop=stop, every=expire_every),
        "sweep": partial(
            sweep, engine, outbox_kept=settings.outbox_kept, batch=settings.sweep_batch, stop=stop, every=sweep_every
        ),
    }
    if registration.state is not RegistrationState.OFF:
        loops["registration"] = partial(registration.keep, stop)
    threads = [threading.Thread(target=loop, name=name) for name, loop in loops.items()]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        state.wake_relay.set()
        for thread in threads:
            thread.join(settings.relay_deadline.total_seconds() + 5)
