"""Trainer's wiring: settings, engines, the slot, the worker."""

from collections.abc import Iterator
from contextlib import contextmanager

from dapr.ext.fastapi import DaprApp
from fastapi import FastAPI

from oncetune.health import Health, database_check, tell
from oncetune.postgres import connect
from oncetune.sources import source_sha256
from oncetune.trainer.settings import TrainerSettings
from oncetune.trainer.slot import Slot
from oncetune.trainer.subscriptions import subscribe
from oncetune.trainer.worker import Worker

SETTINGS = (TrainerSettings,)
ROLE = "oncetune_trainer"


def mount(_app: FastAPI, dapr: DaprApp) -> None:
    """The trainer has one subscription and no routes of its own."""
    subscribe(dapr)


@contextmanager
def running(app: FastAPI) -> Iterator[None]:
    """Claim and train with settings from the environment; on exit the child is reaped and the run released."""
    settings = TrainerSettings()
    source_sha256()  # of what runs from now on, whatever is installed over it
    engine = connect(settings.database_url, role=ROLE, pool_size=2)
    beats = connect(settings.database_url, role=ROLE, pool_size=0)
    slot = Slot(engine, worker=settings.name, lease=settings.lease)
    app.state.slot = slot
    app.state.telemetry.pools["trainer"] = engine
    tell(app, Health(settings.environment, database_check(beats), {"worker": lambda: settings.name}))
    try:
        with Worker(engine, beats, slot, settings):
            yield
    finally:
        engine.dispose()
        beats.dispose()
