"""Probes: `/live` touches nothing, `/ready` and `/health` ask what this process needs to do its work."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass, field
from typing import Any, Literal

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from oncetune.migrations import revision

CHECK_SECONDS = 2.0
PATHS = ("/live", "/ready", "/health")
Detail = dict[str, object]


class HealthAnswer(BaseModel):
    """What `/health` tells; services add words of their own."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"status": "healthy", "environment": "local", "database": "connected"}]},
    )

    status: Literal["healthy", "unhealthy"]
    environment: str
    database: Literal["connected", "disconnected"]


class Readiness(BaseModel):
    """What `/ready` tells."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ready", "database": "connected"}]})

    status: Literal["ready", "not ready"]
    database: Literal["connected", "disconnected"]


class Liveness(BaseModel):
    """What `/live` tells."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "alive"}]})

    status: Literal["alive"] = "alive"


def _either(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """The same shape with 200 and 503."""
    return {200: {"model": model}, 503: {"model": model, "description": "The database is away"}}


@dataclass
class Health:
    """What a process tells of itself. `database` raises or returns; `details` may ask it, `own` words never wait."""

    environment: str
    database: Callable[[], None]
    details: dict[str, Callable[[], object]] = field(default_factory=dict)
    own: dict[str, Callable[[], object]] = field(default_factory=dict)  # told when the database is away, too
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, thread_name_prefix="health"))


def tell(app: FastAPI, health: Health) -> None:
    """Add a service's health to its process; several services of one process share one report."""
    known: Health | None = getattr(app.state, "health", None)
    if known is None:
        app.state.health = health
    else:
        known.details.update(health.details)
        known.own.update(health.own)


def database_check(engine: Engine) -> Callable[[], None]:
    """One trivial select; raises sqlalchemy's errors when the database is away."""

    def check() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    return check


def schema_report(engine: Engine) -> Callable[[], object]:
    """`{"found", "needed"}`: the revisions of the database's schema and of this version's. Raises like a check."""

    def report() -> object:
        with engine.connect() as connection:
            return {"found": revision.found(connection), "needed": revision.needed()}

    return report


routes = APIRouter(tags=["health"])


@routes.get("/live")
async def live() -> Liveness:
    """200 while the process runs; never asks the database, so that an outage restarts nothing."""
    return Liveness()


def _ask(health: Health, check: Callable[[], object]) -> object:
    """The check's answer within CHECK_SECONDS; raises NotInTime, and then it is not begun later."""
    asked = health.pool.submit(check)
    try:
        return asked.result(CHECK_SECONDS)
    finally:
        asked.cancel()


def _connected(health: Health) -> bool:
    try:
        _ask(health, health.database)
    except (SQLAlchemyError, NotInTime):
        return False
    return True


def _report(health: Health) -> tuple[int, Detail]:
    connected = _connected(health)
    report: Detail = {
        "status": "healthy" if connected else "unhealthy",
        "environment": health.environment,
        "database": "connected" if connected else "disconnected",
        **{name: tell_own() for name, tell_own in health.own.items()},
    }
    if connected:
        for name, detail in health.details.items():
            try:
                report[name] = _ask(health, detail)
            except (SQLAlchemyError, NotInTime):
                report[name] = "unknown"
    return (200 if connected else 503), report


@routes.get("/health", response_model=None, responses=_either(HealthAnswer))
def health(request: Request) -> JSONResponse:
    """`{"status", "environment", "database", …}`; 503 with the same shape when the database is away."""
    status, report = _report(request.app.state.health)
    return JSONResponse(report, status)


@routes.get("/ready", response_model=None, responses=_either(Readiness))
def ready(request: Request) -> JSONResponse:
    """200 when this process can serve: its database answers. A sidecar that is away or hangs does not matter here."""
    if _connected(request.app.state.health):
        return JSONResponse({"status": "ready", "database": "connected"})
    return JSONResponse({"status": "not ready", "database": "disconnected"}, 503)
