"""How many requests one process has in work at once: each may hold a body, and a queue without an end holds all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from oncetune.gateway.errors import Refusal

SEAT_SECONDS = 5.0
_BUSY = {"detail": "Too many requests are in work here; repeat this one with its Idempotency-Key", "code": "busy"}
_LATER = {"Retry-After": "5", "Connection": "close"}  # its body stays unread


class BoundedCrowd:
    """ASGI: beyond `app.state.requests` at once, the next is 503 before a byte of its body is read.

    Paths that begin with one of `free` do not count: probes, scrapes, and what the sidecar bounds by itself.
    """

    def __init__(self, app: ASGIApp, *, free: tuple[str, ...]) -> None:
        self._app = app
        self._free = free
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(self._free):
            await self._app(scope, receive, send)
            return
        if self._inside >= scope["app"].state.requests:
            await JSONResponse(_BUSY, 503, headers=_LATER)(scope, receive, send)
            return
        self._inside += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1


@asynccontextmanager
async def seated(seats: asyncio.Semaphore, *, busy: str) -> AsyncIterator[None]:
    """On one of these seats; raises Refusal 503 `busy` to who waited for one in vain."""
    try:
        await asyncio.wait_for(seats.acquire(), SEAT_SECONDS)
    except TimeoutError as error:
        raise Refusal(503, "busy", busy, headers={"Retry-After": "5"}) from error
    try:
        yield
    finally:
        seats.release()
