"""`POST /trigger-finetune` and `POST /runs/{id}/cancel`."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import SkipJsonSchema
from sqlmodel import Session
from starlette.concurrency import run_in_threadpool

from oncetune.contracts.run import TERMINAL, RunState
from oncetune.gateway.callers import AdminCaller
from oncetune.gateway.errors import Refusal
from oncetune.ledger.requests import (
    RequestAnswer,
    RequestInFlight,
    RequestKeyReused,
    RunActive,
    RunRequest,
    TooManyRuns,
    accept,
    request_cancel,
)
from oncetune.ledger.tables import Run
from oncetune.logs import about, log
from oncetune.postgres import transaction
from oncetune.trigger.body import VerifiedTrigger, read_body, verify
from oncetune.trigger.dry_run import DryRun, Valid, valid
from oncetune.trigger.openapi import CANCEL_RESPONSES, TRIGGER_BODY, TRIGGER_RESPONSES
from oncetune.trigger.state import TriggerState

routes = APIRouter(tags=["trigger"])

SEAT_SECONDS = 5
SMALL_BODY = 16 * 1024  # bytes: checked within 3 ms, which is less than a thread costs under load


class Accepted(BaseModel):
    """The run that answers the request."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"run_id": "0199f3a4-6c1e-7d52-9a3b-5e8f0c2d4b61", "status": "queued"}]}
    )

    run_id: UUID
    status: RunState


def trigger_state(request: Request) -> TriggerState:
    state: TriggerState = request.app.state.trigger
    return state


async def seat(request: Request) -> AsyncIterator[None]:
    """Requests that may wait for a lock stay fewer than the threads and connections, so that the others go on."""
    state = trigger_state(request)
    try:
        await asyncio.wait_for(state.seats.acquire(), SEAT_SECONDS)
    except TimeoutError as error:
        detail = "Too many requests wait; repeat this one with its Idempotency-Key"
        raise Refusal(503, "busy", detail, headers={"Retry-After": "5"}) from error
    try:
        yield
    finally:
        state.seats.release()


async def verified(request: Request, _caller: AdminCaller) -> VerifiedTrigger:
    """An admin's request: nobody else's body is read at all.

    Large ones a few at a time: megabytes that are parsed hold a thread, and those who hold a seat need one to go on.
    """
    state = trigger_state(request)
    body = await read_body(request, state.settings.max_body_bytes, state.settings.body_deadline)
    if len(body) <= SMALL_BODY:
        return verify(body, state.settings.models)
    async with state.readers:
        return await run_in_threadpool(verify, body, state.settings.models)


_VISIBLE = "^[!-~]([ -~]{0,253}[!-~])?$"  # told, not checked by it: the sentence of the refusal says more
KeyHeader = Annotated[
    str | SkipJsonSchema[None],
    Header(
        alias="Idempotency-Key",
        description="Kept 10 minutes a user",
        json_schema_extra={"pattern": _VISIBLE, "example": "order-4711"},
    ),
]


async def request_key(idempotency_key: KeyHeader = None) -> str | None:
    """The Idempotency-Key header, 1 to 255 visible ASCII characters; None when it is absent."""
    if idempotency_key is None:
        return None
    if not 1 <= len(idempotency_key) <= 255 or not idempotency_key.isascii() or not idempotency_key.isprintable():
        raise Refusal(400, "invalid_idempotency_key", "Idempotency-Key takes 1 to 255 visible ASCII characters")
    return idempotency_key


# async: for a plain function FastAPI would take a second thread to check the answer
@routes.post("/trigger-finetune", responses=TRIGGER_RESPONSES, openapi_extra=TRIGGER_BODY)
async def trigger_finetune(
    caller: AdminCaller,
    trigger: Annotated[VerifiedTrigger, Depends(verified)],
    key: Annotated[str | None, Depends(request_key)],
    _seat: Annotated[None, Depends(seat)],
    request: Request,
    response: Response,
    dry_run: DryRun = False,
) -> Accepted | Valid:
    """Accept a run, once. The same key and body always answer with the same run."""
    if dry_run:
        return valid(trigger, user_id=caller.user_id)
    wanted = RunRequest(
        user_id=caller.user_id,
        kb_id=trigger.kb_id,
        exp_name=trigger.exp_name,
        base_model=trigger.base_model,
        recipe=trigger.recipe,
        rows=trigger.rows,
        traceparent=_traceparent(request),
    )
    answer = await run_in_threadpool(_accept, trigger_state(request), wanted, key, trigger.fingerprint)
    if answer.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return Accepted(run_id=answer.run_id, status=RunState.QUEUED)  # the first answer, whatever happened since


def _traceparent(request: Request) -> str | None:
    given = request.headers.get("traceparent", "")
    return given if len(given) == 55 and given.isascii() and given.isprintable() else None


def _accept(state: TriggerState, wanted: RunRequest, key: str | None, fingerprint: str) -> RequestAnswer:
    answer = _record(state, wanted, key, fingerprint)
    if not answer.replayed:
        state.wake_relay.set()
    with about(run_id=str(answer.run_id)):
        log.info(
            "run.replayed" if answer.replayed else "run.requested",
            outcome="duplicate" if answer.replayed else "ok",
            user_id=wanted.user_id,
            kb_id=wanted.kb_id,
            rows=wanted.rows.row_count,
        )
    return answer


def _record(state: TriggerState, wanted: RunRequest, key: str | None, fingerprint: str) -> RequestAnswer:
    try:
        with transaction(state.engine) as session:  # key, run and outbox, dataset: all or nothing
            return accept(
                session,
                wanted,
                key=key,
                fingerprint=fingerprint,
                key_lifetime=state.settings.key_lifetime,
                runs_per_minute=state.settings.runs_per_minute,
            )
    except RequestKeyReused as error:
        detail = "This Idempotency-Key was used with another body; use a new key for a new request"
        raise Refusal(422, "idempotency_key_reused", detail) from error
    except TooManyRuns as many:
        detail = f"A user may ask for {state.settings.runs_per_minute} runs a minute; wait {many.seconds} seconds"
        raise Refusal(429, "rate_limited", detail, headers={"Retry-After": str(many.seconds)}) from many
    except RunActive as active:
        detail = f"A run of kb_id {wanted.kb_id!r} is queued or running; wait for its end or cancel it"
        own = {"run_id": str(active.run_id)} if active.run_id else {}
        raise Refusal(429, "run_active", detail, headers={"Retry-After": "30"}, **own) from active
    except RequestInFlight as error:
        detail = "The first request with this Idempotency-Key is still in flight; repeat this one"
        raise Refusal(409, "request_in_flight", detail, headers={"Retry-After": "2"}) from error


@routes.post("/runs/{run_id}/cancel", responses=CANCEL_RESPONSES)
def cancel_run(
    run_id: Annotated[str, Path(json_schema_extra={"format": "uuid"})],
    caller: AdminCaller,
    _seat: Annotated[None, Depends(seat)],
    request: Request,
) -> Accepted:
    """Stop a queued run at once, a running one at its next heartbeat. Asked again, it answers the same way."""
    try:
        wanted = UUID(run_id)
    except ValueError as error:
        raise Refusal(404, "run_not_found", "There is no such run") from error
    with transaction(trigger_state(request).engine) as session:
        run = _find(session, wanted)
        ended = run.state in TERMINAL
        request_cancel(session, wanted, requested_by=caller.user_id)
        session.refresh(run)
    log.info("run.cancel_requested", outcome="ended" if ended else "ok", state=run.state, run_id=str(wanted))
    return Accepted(run_id=wanted, status=run.state)


def _find(session: Session, run_id: UUID) -> Run:
    run = session.get(Run, run_id)
    if run is None:
        raise Refusal(404, "run_not_found", "There is no such run")
    return run
