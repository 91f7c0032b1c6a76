"""`POST /runs/{run_id}/rerun`: the same recipe on the same rows once more, as a run of its own."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import ValidationError
from sqlmodel import Session
from starlette.concurrency import run_in_threadpool

from oncetune.contracts.quality import STRICTER
from oncetune.contracts.recipe import RECIPE_VERSION, TrainingRecipe
from oncetune.contracts.run import RunState
from oncetune.datasets.urls import printable_url
from oncetune.gateway.callers import AdminCaller
from oncetune.gateway.errors import Refusal
from oncetune.ledger.datasets import find_dataset
from oncetune.ledger.requests import KeptRows, RequestAnswer, RunRequest
from oncetune.ledger.tables import Dataset, Run
from oncetune.postgres import transaction
from oncetune.tracing import current_traceparent
from oncetune.trigger.admission import SMALL_BODY, Key, Seat, alone, trigger_state
from oncetune.trigger.body import RerunBody, read_body, read_object, unknown_model
from oncetune.trigger.openapi import RERUN_BODY, RERUN_RESPONSES
from oncetune.trigger.routes import Accepted, accept_run
from oncetune.trigger.runs import RunId, existing_run
from oncetune.trigger.settings import TriggerSettings
from oncetune.trigger.state import TriggerState

reruns = APIRouter(tags=["trigger"])


@dataclass(frozen=True)
class Repeat:
    """What a caller wants repeated, and under which name. `fingerprint` names the exact request."""

    run_id: str
    exp_name: str | None
    fingerprint: str


async def repeat(run_id: RunId, request: Request, _caller: AdminCaller) -> Repeat:
    """An admin's request; its body may be absent."""
    too_large = Refusal(413, "body_too_large", f"The body is larger than {SMALL_BODY} bytes")
    deadline = trigger_state(request).settings.body_deadline
    body = await read_body(request, SMALL_BODY, deadline, too_large=too_large)
    named = read_object(body, RerunBody).exp_name if body else None
    return Repeat(run_id, named, hashlib.sha256(f"rerun {run_id}\n".encode() + body).hexdigest())


Wanted = Annotated[Repeat, Depends(repeat)]


async def turn(request: Request, caller: AdminCaller, _wanted: Wanted, key: Key) -> AsyncIterator[timedelta | None]:
    """Alone with its key, once its body is right. How long is left to whoever had to wait."""
    async with alone(request, caller, key) as patience:
        yield patience


@reruns.post("/runs/{run_id}/rerun", responses=RERUN_RESPONSES, openapi_extra=RERUN_BODY)
async def rerun(
    caller: AdminCaller,
    wanted: Wanted,
    key: Key,
    patience: Annotated[timedelta | None, Depends(turn)],
    _seat: Seat,
    request: Request,
    response: Response,
) -> Accepted:
    """Record a run with the recipe and the dataset of this one. The same key and body answer with the same run."""
    state, trace = trigger_state(request), current_traceparent()
    answer = await run_in_threadpool(_accept, state, caller.user_id, wanted, key, patience, trace)
    if answer.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return Accepted(run_id=answer.run_id, status=RunState.QUEUED)


def _accept(
    state: TriggerState, user_id: str, wanted: Repeat, key: str | None, patience: timedelta | None, trace: str | None
) -> RequestAnswer:
    with transaction(state.engine) as session:
        parent = existing_run(session, wanted.run_id)
        recipe = _recipe(parent, state.settings)
        request = _request(session, parent, recipe, user_id, wanted.exp_name, trace)
    return accept_run(state, request, key, wanted.fingerprint, patience)


def _request(
    session: Session, parent: Run, recipe: TrainingRecipe, user_id: str, exp_name: str | None, trace: str | None
) -> RunRequest:
    """What the parent was asked for, of the rows that it trained on; those of its URL where they were never stored."""
    stored = find_dataset(session, parent)
    return RunRequest(
        user_id=user_id,
        kb_id=parent.kb_id,
        exp_name=exp_name or parent.exp_name,
        base_model=parent.base_model,
        recipe=recipe,
        rows=_rows_of(parent, stored) if stored else None,
        dataset_url=parent.dataset_url,
        shown_url=parent.dataset_url and printable_url(parent.dataset_url),
        parent_run_id=parent.id,
        traceparent=trace,
    )


def _rows_of(parent: Run, stored: Dataset) -> KeptRows:
    notes = tuple(parent.dataset_notes or ())
    return KeptRows(stored.sha256, stored.row_count, parent.dataset_format, notes)


def _recipe(parent: Run, settings: TriggerSettings) -> TrainingRecipe:
    """In this version's words: an older one's defaults are written out, which trainers of its time do not know.

    What the operator allows today binds a rerun, too: its model must be offered, and of two gates it has the stricter.
    """
    try:
        recipe = TrainingRecipe.model_validate(parent.recipe)
        if recipe.base_model not in settings.models.values():
            raise unknown_model(recipe.base_model, settings.models)
        gate = max(recipe.quality_gate, settings.quality_gate, key=STRICTER.index)
        now = {"recipe_version": RECIPE_VERSION, "dataset_sha256": parent.dataset_sha256, "quality_gate": gate}
        return TrainingRecipe.model_validate(recipe.model_dump() | now)
    except ValidationError as error:
        detail = "The run was recorded by another version, whose recipe this one cannot read"
        raise Refusal(422, "unknown_recipe", detail) from error
