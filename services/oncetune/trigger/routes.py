"""`POST /trigger-finetune` and `POST /runs/{id}/cancel`."""

from datetime import timedelta
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool

from oncetune.contracts.run import TERMINAL, RunState
from oncetune.datasets.urls import printable_url
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
from oncetune.logs import about, log
from oncetune.postgres import transaction
from oncetune.tracing import current_traceparent
from oncetune.trigger.admission import Key, Patience, Seat, Trigger, in_flight, trigger_state
from oncetune.trigger.dry_run import DryRun, Valid, ValidUrl, valid
from oncetune.trigger.openapi import CANCEL_RESPONSES, TRIGGER_BODY, TRIGGER_RESPONSES
from oncetune.trigger.runs import RunId, existing_run
from oncetune.trigger.state import TriggerState

routes = APIRouter(tags=["trigger"])


class Accepted(BaseModel):
    """The run that answers the request."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"run_id": "0199f3a4-6c1e-7d52-9a3b-5e8f0c2d4b61", "status": "queued"}]}
    )

    run_id: UUID
    status: RunState


# async: for a plain function FastAPI would take a second thread to check the answer
@routes.post("/trigger-finetune", responses=TRIGGER_RESPONSES, openapi_extra=TRIGGER_BODY)
async def trigger_finetune(
    caller: AdminCaller,
    trigger: Trigger,
    key: Key,
    patience: Patience,
    _seat: Seat,
    request: Request,
    response: Response,
    dry_run: DryRun = False,
) -> Accepted | Valid | ValidUrl:
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
        dataset_url=trigger.dataset_url,
        shown_url=trigger.dataset_url and printable_url(trigger.dataset_url),
        traceparent=current_traceparent(),
    )
    answer = await run_in_threadpool(accept_run, trigger_state(request), wanted, key, trigger.fingerprint, patience)
    if answer.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return Accepted(run_id=answer.run_id, status=RunState.QUEUED)  # the first answer, whatever happened since


def accept_run(
    state: TriggerState, wanted: RunRequest, key: str | None, fingerprint: str, patience: timedelta | None
) -> RequestAnswer:
    """Record what an admitted caller wants, wake the relay, and say it in one line. Raises Refusal 409, 422, 429."""
    answer = _record(state, wanted, key, fingerprint, patience)
    if not answer.replayed:
        state.wake_relay.set()
    with about(run_id=str(answer.run_id)):
        log.info(
            "run.replayed" if answer.replayed else "run.requested",
            outcome="duplicate" if answer.replayed else "ok",
            user_id=wanted.user_id,
            kb_id=wanted.kb_id,
            rows=wanted.rows and wanted.rows.row_count,
        )
    return answer


def _record(
    state: TriggerState, wanted: RunRequest, key: str | None, fingerprint: str, patience: timedelta | None
) -> RequestAnswer:
    try:
        with transaction(state.engine) as session:  # key, run and outbox, dataset: all or nothing
            return accept(
                session,
                wanted,
                key=key,
                fingerprint=fingerprint,
                patience=patience,
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
        raise in_flight() from error


@routes.post("/runs/{run_id}/cancel", responses=CANCEL_RESPONSES)
def cancel_run(run_id: RunId, caller: AdminCaller, _seat: Seat, request: Request) -> Accepted:
    """Stop a queued run at once, a running one at its next heartbeat. Asked again, it answers the same way."""
    with transaction(trigger_state(request).engine) as session:
        run = existing_run(session, run_id)
        ended = run.state in TERMINAL
        request_cancel(session, run.id, requested_by=caller.user_id)
        session.refresh(run)
    log.info("run.cancel_requested", outcome="ended" if ended else "ok", state=run.state, run_id=str(run.id))
    return Accepted(run_id=run.id, status=run.state)
