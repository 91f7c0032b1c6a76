"""HTTP out: where a run stands, the newest runs, a run's audit trail (GATEWAY_CONTRACT, section 3)."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from oncetune.contracts.run import RunState
from oncetune.gateway.callers import SignedCaller
from oncetune.ledger.datasets import find_dataset
from oncetune.ledger.reads import list_runs
from oncetune.ledger.tables import Run
from oncetune.postgres import transaction
from oncetune.status.answers import (
    BAD_CURSOR,
    NOT_FOUND,
    KeptCheckpoint,
    RunAnswer,
    RunDataset,
    RunFault,
    RunsAnswer,
    StoredAdapter,
    TrailAnswer,
    TrailEvent,
)
from oncetune.status.cursor import cursor_pattern, read_cursor, write_cursor
from oncetune.status.reads import read_trail
from oncetune.status.tables import JournalEntry
from oncetune.status.visibility import RunId, visible_run

routes = APIRouter(tags=["runs"])

_PATTERN = cursor_pattern("[0-9a-f]{32}")

Word = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Cursor = Annotated[str, Field(json_schema_extra={"pattern": _PATTERN})]  # told, not checked by it: 400 has its own code
Limit = Annotated[int, Query(ge=1, le=200)]


@routes.get("/runs/{run_id}", response_model_exclude_none=True, responses=NOT_FOUND)
def show_run(run_id: RunId, caller: SignedCaller, request: Request) -> RunAnswer:
    """Where the run stands; 404 when there is none, or none of this caller's."""
    with transaction(request.app.state.status) as session:
        run = visible_run(session, run_id, caller)
        dataset = find_dataset(session, run)
    stored = None if dataset is None else RunDataset(sha256=dataset.sha256, rows=dataset.row_count)
    return _answer(run).model_copy(update={"dataset": stored})


@routes.get("/runs", response_model_exclude_none=True, responses=BAD_CURSOR)
def show_runs(
    caller: SignedCaller,
    request: Request,
    limit: Limit = 50,
    status: RunState | SkipJsonSchema[None] = None,
    kb_id: Word | SkipJsonSchema[None] = None,
    exp_name: Word | SkipJsonSchema[None] = None,
    cursor: Cursor | SkipJsonSchema[None] = None,
) -> RunsAnswer:
    """The newest runs: all of them for an admin, else the caller's own.

    `next_cursor` is there while there may be more: give it as `cursor`, with the same filters.
    """
    user_id = None if caller.admin else caller.user_id
    before = None if cursor is None else _place(cursor)
    with transaction(request.app.state.status) as session:
        runs = list_runs(
            session, limit=limit, user_id=user_id, state=status, kb_id=kb_id, exp_name=exp_name, before=before
        )
    more = write_cursor(runs[-1].created_at, runs[-1].id.hex) if len(runs) == limit else None
    return RunsAnswer(runs=[_answer(run) for run in runs], next_cursor=more)


@routes.get("/runs/{run_id}/events", responses=NOT_FOUND)
def show_events(run_id: RunId, caller: SignedCaller, request: Request) -> TrailAnswer:
    """The run's audit trail, and what was dropped or is still on its way."""
    with transaction(request.app.state.status) as session:
        run = visible_run(session, run_id, caller)
        trail = read_trail(session, run)
    return TrailAnswer(
        run_id=run.id,
        events=[_event(entry) for entry in trail.entries],
        gapless=trail.gapless,
        duplicates=trail.duplicates,
        pending=trail.pending,
        conflicts=trail.conflicts,
        dead_letters=trail.dead_letters,
    )


def _place(cursor: str) -> tuple[datetime, UUID]:
    created_at, run_id = read_cursor(cursor, _PATTERN)
    return created_at, UUID(run_id)


def _seconds(time: datetime | None) -> int | None:
    return None if time is None else int(time.timestamp())


def _answer(run: Run) -> RunAnswer:
    """The contract's answer; None is what is not known yet."""
    return RunAnswer(
        run_id=run.id,
        status=run.state,
        metrics=run.metrics,
        started_at=_seconds(run.started_at),
        finished_at=_seconds(run.finished_at),
        error=RunFault.model_validate(run.error) if run.error else None,
        kb_id=run.kb_id,
        exp_name=run.exp_name,
        base_model=run.base_model,
        attempt=run.attempt,
        strikes=run.strikes,
        progress=run.progress if run.state == RunState.RUNNING else None,
        artifact=_stored(run),
        checkpoint=KeptCheckpoint(step=run.checkpoint_step) if run.checkpoint_step else None,
        parent_run_id=run.parent_run_id,
        created_at=int(run.created_at.timestamp()),
    )


def _stored(run: Run) -> StoredAdapter | None:
    """None also when retention took the results away."""
    if run.artifact_uri is None or run.files_removed_at is not None:
        return None
    return StoredAdapter(uri=run.artifact_uri, sha256=run.adapter_sha256)


def _event(entry: JournalEntry) -> TrailEvent:
    data = entry.event["data"]
    return TrailEvent(
        position=entry.position,
        type=entry.type,
        event_id=entry.event_id,
        occurred_at=data.get("occurred_at", entry.event.get("time")),
        received_at=entry.received_at.isoformat(),
        data=data,
    )
