"""Who may enter, in this order: an admin, with a body that is right, alone with its key, while there is a seat."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Header, Request
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool

from oncetune.gateway.callers import AdminCaller
from oncetune.gateway.claims import Caller
from oncetune.gateway.crowd import seated
from oncetune.gateway.errors import Refusal
from oncetune.trigger.body import VerifiedTrigger, dataset_too_large, read_body, verify
from oncetune.trigger.state import LOCK_TIMEOUT, TriggerState

_BUSY = "Too many requests wait; repeat this one with its Idempotency-Key"
SMALL_BODY = 16 * 1024  # bytes: checked where it is read, which costs less than a thread


def trigger_state(request: Request) -> TriggerState:
    state: TriggerState = request.app.state.trigger
    return state


async def verified(request: Request, _caller: AdminCaller) -> VerifiedTrigger:
    """An admin's request: nobody else's body is read at all.

    Large ones a few at a time: megabytes that are parsed hold a thread, and those who hold a seat need one to go on.
    """
    state = trigger_state(request)
    limit = state.settings.max_body_bytes
    body = await read_body(request, limit, state.settings.body_deadline, too_large=dataset_too_large(limit))
    if len(body) <= SMALL_BODY:
        return verify(body, state.settings.models, state.settings.quality_gate)
    async with state.readers:
        return await run_in_threadpool(verify, body, state.settings.models, state.settings.quality_gate)


Trigger = Annotated[VerifiedTrigger, Depends(verified)]

_VISIBLE = "^[!-~]([ -~]{0,253}[!-~])?$"  # told, not checked by it: the sentence of the refusal says more
KeyHeader = Annotated[
    str | SkipJsonSchema[None],
    Header(
        alias="Idempotency-Key",
        description="Kept 10 minutes a user",
        json_schema_extra={"pattern": _VISIBLE, "example": "order-4711"},
    ),
]


async def request_key(request: Request, idempotency_key: KeyHeader = None) -> str | None:
    """The Idempotency-Key header, 1 to 255 visible ASCII characters; None when it is absent."""
    if idempotency_key is None:
        return None
    if len(request.headers.getlist("Idempotency-Key")) > 1:
        raise Refusal(400, "invalid_idempotency_key", "The header Idempotency-Key stands twice")
    if not 1 <= len(idempotency_key) <= 255 or not idempotency_key.isascii() or not idempotency_key.isprintable():
        raise Refusal(400, "invalid_idempotency_key", "Idempotency-Key takes 1 to 255 visible ASCII characters")
    return idempotency_key


Key = Annotated[str | None, Depends(request_key)]


async def turn(request: Request, caller: AdminCaller, _trigger: Trigger, key: Key) -> AsyncIterator[timedelta | None]:
    """Alone with its key, once its body is right. How long is left to whoever had to wait."""
    async with alone(request, caller, key) as patience:
        yield patience


@asynccontextmanager
async def alone(request: Request, caller: Caller, key: str | None) -> AsyncIterator[timedelta | None]:
    """Twins enter here one at a time: they take one seat, not all. How long is left to whoever had to wait."""
    loop = asyncio.get_running_loop()
    until = loop.time() + LOCK_TIMEOUT.total_seconds()
    turns = trigger_state(request).turns
    mine = asyncio.Lock() if key is None else turns.setdefault((caller.user_id, key), asyncio.Lock())
    waits = mine.locked()
    try:
        async with asyncio.timeout_at(until):
            await mine.acquire()
    except TimeoutError as error:
        raise in_flight() from error
    try:
        yield timedelta(seconds=max(0.01, until - loop.time())) if waits else None
    finally:
        mine.release()


def in_flight() -> Refusal:
    detail = "The first request with this Idempotency-Key is still in flight; repeat this one"
    return Refusal(409, "request_in_flight", detail, headers={"Retry-After": "2"})


Patience = Annotated[timedelta | None, Depends(turn)]


async def seat(request: Request) -> AsyncIterator[None]:
    """Requests that may wait for a lock stay fewer than the threads and connections, so that the others go on."""
    async with seated(trigger_state(request).seats, busy=_BUSY):
        yield


Seat = Annotated[None, Depends(seat)]
