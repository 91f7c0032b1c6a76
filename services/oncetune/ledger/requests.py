"""Record a request as one run, once: steps 1 of the room's protocol."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from psycopg.errors import LockNotAvailable
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, col, select

from oncetune.contracts.preferences import PackedRows
from oncetune.contracts.recipe import TrainingRecipe
from oncetune.ledger.datasets import store_rows
from oncetune.ledger.ids import new_event_id
from oncetune.ledger.tables import RequestKey, Run
from oncetune.postgres import statement

SOURCE = "/oncetune/trigger"


class RequestKeyReused(Exception):
    """The key was used with another body: answer 422, the caller has a bug."""


class RunActive(Exception):
    """A run of this kb_id is queued or running: answer 429; `run_id` is set when it is the caller's own."""

    def __init__(self, run_id: UUID | None) -> None:
        super().__init__(run_id)
        self.run_id = run_id


class RequestInFlight(Exception):
    """An equal request did not end while this one waited for it: answer 409, it may come again."""


class TooManyRuns(Exception):
    """The user asked for too many runs in the last minute: answer 429; `seconds` until the next is welcome."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(frozen=True)
class KeptRows:
    """Rows that are stored already: those of the run that is repeated."""

    sha256: str
    row_count: int
    format: str | None  # None: stored by a version that did not say it
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunRequest:
    """What a caller asked for, validated. `base_model` is the name that was asked, the recipe's is resolved."""

    user_id: str
    kb_id: str
    exp_name: str
    base_model: str
    recipe: TrainingRecipe
    rows: PackedRows | KeptRows | None = None  # None: of a URL
    dataset_url: str | None = None  # whole: no event has it
    shown_url: str | None = None  # without what may be secret
    parent_run_id: UUID | None = None  # the run that this one repeats
    traceparent: str | None = None


@dataclass(frozen=True)
class RequestAnswer:
    """The run that answers the request; `replayed` when an earlier request with the same key made it."""

    run_id: UUID
    replayed: bool


def accept(
    session: Session,
    request: RunRequest,
    *,
    key: str | None,
    fingerprint: str,
    key_lifetime: timedelta,
    runs_per_minute: int,
    patience: timedelta | None = None,
) -> RequestAnswer:
    """Record the run, or find the run that the same key made.

    Raises RequestKeyReused, RequestInFlight, TooManyRuns and RunActive. Any number of callers may do this at once;
    each waits for another's lock as long as its engine's `lock_timeout` says, and `patience` is for one that has
    waited for its key before. Whatever is raised, the transaction must be rolled back: then nothing of the request
    remains, its key included.
    """
    run_id = uuid4()
    if key is not None:
        with _waiting_at_most(session, patience):
            claimed = _claim_key(session, request.user_id, key, fingerprint, run_id, key_lifetime)
        if not claimed:
            return RequestAnswer(_run_of_key(session, request.user_id, key, fingerprint), replayed=True)
    session.execute(statement("ledger", "take_turn"), {"taker": request.user_id})
    _record_run(session, run_id, request, runs_per_minute)
    if isinstance(request.rows, PackedRows):
        store_rows(session, request.rows)  # last: a refused request has written none of its megabytes
    return RequestAnswer(run_id, replayed=False)


@contextmanager
def _waiting_at_most(session: Session, patience: timedelta | None) -> Iterator[None]:
    """A shorter `lock_timeout` inside; None keeps the engine's, and asks the database nothing."""
    if patience is None:
        yield
        return
    milliseconds = max(1, int(patience.total_seconds() * 1000))  # 0 would mean for ever
    session.execute(text(f"SET LOCAL lock_timeout = {milliseconds}"))
    yield
    session.execute(text("SET LOCAL lock_timeout = DEFAULT"))


def _claim_key(session: Session, user_id: str, key: str, fingerprint: str, run_id: UUID, lifetime: timedelta) -> bool:
    wanted = {
        "user_id": user_id,
        "key": key,
        "fingerprint": fingerprint,
        "run_id": run_id,
        "ttl_seconds": lifetime.total_seconds(),
    }
    try:
        return session.execute(statement("ledger", "claim_key"), wanted).one_or_none() is not None
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):  # the database is there, somebody else holds the key
            raise RequestInFlight from error
        raise


def _run_of_key(session: Session, user_id: str, key: str, fingerprint: str) -> UUID:
    """A new statement, so a newer snapshot: it sees the winner that the claim's own could not."""
    held = session.exec(select(RequestKey).where(RequestKey.user_id == user_id, RequestKey.key == key)).one()
    if held.fingerprint != fingerprint:
        raise RequestKeyReused
    return held.run_id


def _record_run(session: Session, run_id: UUID, request: RunRequest, runs_per_minute: int) -> None:
    parameters = {
        "run_id": run_id,
        "user_id": request.user_id,
        "kb_id": request.kb_id,
        "exp_name": request.exp_name,
        "base_model": request.base_model,
        "recipe": json.dumps(request.recipe.model_dump(mode="json")),
        "recipe_version": request.recipe.recipe_version,
        "dataset_sha256": request.rows and request.rows.sha256,
        "dataset_url": request.dataset_url,
        "dataset_format": request.rows and request.rows.format,
        "dataset_notes": request.rows and json.dumps(request.rows.notes),
        "parent_run_id": request.parent_run_id,
        "traceparent": request.traceparent,
        "event_id": new_event_id(),
        "source": SOURCE,
        "payload": json.dumps(_told_in_event(request)),
        "limit": runs_per_minute,
    }
    for _ in range(2):  # once more if the run that stood in the way has ended by the time it is read
        outcome = session.execute(statement("ledger", "record_run"), parameters).one()
        if outcome.run_id is not None:
            return
        if outcome.seconds is not None:
            raise TooManyRuns(max(1, outcome.seconds))
        active = _active_run(session, request.kb_id)
        if active is not None:
            break
    raise RunActive(active.id if active is not None and active.user_id == request.user_id else None)


def _told_in_event(request: RunRequest) -> dict[str, object]:
    """The fields of contracts.events.RunRequested."""
    return {
        "user_id": request.user_id,
        "kb_id": request.kb_id,
        "exp_name": request.exp_name,
        "algo": request.recipe.algo,
        "base_model": request.recipe.base_model,
        "recipe_version": request.recipe.recipe_version,
        "dataset_sha256": request.rows and request.rows.sha256,
        "dataset_rows": request.rows and request.rows.row_count,
        "dataset_url": request.shown_url,
        "parent_run_id": request.parent_run_id and str(request.parent_run_id),
        "hyperparameters": request.recipe.hyperparameters.model_dump(mode="json"),
    }


def _active_run(session: Session, kb_id: str) -> Run | None:
    return session.exec(select(Run).where(Run.kb_id == kb_id, col(Run.state).in_(["queued", "running"]))).one_or_none()


def request_cancel(session: Session, run_id: UUID, *, requested_by: str) -> None:
    """Stop a queued run at once; ask a running one, which learns of it with its next heartbeat. Repeats do nothing."""
    session.execute(
        statement("ledger", "request_cancel"),
        {"run_id": run_id, "event_id": new_event_id(), "source": SOURCE, "requested_by": requested_by},
    )
