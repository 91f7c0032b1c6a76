"""`/metrics`: what one process tells of itself, of the run in work, and of the database.

Nothing signs a scrape: the route is for the inside of a cluster, its numbers name no run, no user and no dataset, and
no ingress of ours leads to it. Its one statement has a connection and a thread of its own, so a scrape takes nothing
away from requests and deliveries; a database that is away leaves its numbers out, and the scrape succeeds.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import version

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oncetune.telemetry import Standing, build_info, count_request, of_services, pools_in_use

PATH = "/metrics"
STATEMENT_TIMEOUT = timedelta(seconds=1)
READ_SECONDS = 2.0  # a new connection and the statement
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(eq=False)
class Telemetry(Collector):
    """What one process tells. `read` asks the database by its own connection, and may raise sqlalchemy's errors."""

    services: tuple[str, ...]
    read: Callable[[], Standing] | None = None
    pools: dict[str, Engine] = field(default_factory=dict)
    _reader: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="metrics"), init=False
    )

    @property
    def name(self) -> str:
        """The label `service` of what belongs to the whole process; its log lines say `svc`."""
        return "+".join(self.services)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What is asked of the process at each scrape."""
        yield build_info(version("oncetune"))
        pools = {name: one.pool for name, one in self.pools.items()}
        yield pools_in_use(
            self.name, {name: pool.checkedout() for name, pool in pools.items() if isinstance(pool, QueuePool)}
        )

    async def standing(self) -> Standing | None:
        """How the database stands; None when it does not say so in time."""
        if self.read is None:
            return None
        asked = asyncio.get_running_loop().run_in_executor(self._reader, self.read)
        try:
            return await asyncio.wait_for(asked, READ_SECONDS)  # what waits in the queue yet is not begun later
        except (SQLAlchemyError, TimeoutError):
            return None


routes = APIRouter(include_in_schema=False)


@routes.get(PATH)
async def metrics(request: Request) -> Response:
    """In the text format that the scraper asks for."""
    telemetry: Telemetry = request.app.state.telemetry
    standing = await telemetry.standing()
    registry = CollectorRegistry()
    for collector in (*of_services(telemetry.services), telemetry, *filter(None, [standing])):
        registry.register(collector)
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), headers={"content-type": content_type})


class MeasureHttp:
    """ASGI: counts and times each request under the route that took it; what no route takes shares one label."""

    def __init__(self, app: ASGIApp, *, service: str) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = "none", time.perf_counter()  # none: the caller went away before

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, note)
        except Exception:  # counted, and left to whoever answers it
            status = "500"
            raise
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = getattr(scope.get("route"), "path", "unmatched")
            count_request(self._service, method, route, status, seconds=time.perf_counter() - began)
