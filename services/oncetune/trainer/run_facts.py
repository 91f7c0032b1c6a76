"""What the ledger and the audit say of a run whose training has just finished, for its manifest and its report."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from sqlmodel import Session

from oncetune.contracts.manifest import Manifest
from oncetune.contracts.quality import QualityReport
from oncetune.contracts.run_report import AttemptFacts, DatasetFacts
from oncetune.datasets.urls import printable_url
from oncetune.ledger.datasets import runs_of_set
from oncetune.ledger.leases import Lease, database_time
from oncetune.ledger.reads import duplicates_of, find_run, told_of_attempts
from oncetune.ledger.tables import Dataset, OutboxEvent, Run
from oncetune.logs import log

_Document = TypeVar("_Document", bound=BaseModel)


@dataclass(frozen=True)
class RunFacts:
    """`now` is the database's clock; `parent` the manifest of the run that this one repeats."""

    kb_id: str
    exp_name: str
    requested_model: str
    requested_at: datetime
    started_at: datetime
    now: datetime
    parent_run_id: str | None
    parent: Manifest | None
    dataset: DatasetFacts
    quality: QualityReport | None
    attempts: tuple[AttemptFacts, ...]
    duplicates_dropped: int


def read_facts(session: Session, lease: Lease, *, worker: str) -> RunFacts:
    """Selects only; the run and its dataset are there as long as somebody holds its lease."""
    run, now = find_run(session, lease.run_id), database_time(session)
    assert run is not None
    started_at = run.started_at or now
    parent = None if run.parent_run_id is None else find_run(session, run.parent_run_id)
    return RunFacts(
        kb_id=run.kb_id,
        exp_name=run.exp_name,
        requested_model=run.base_model,
        requested_at=run.created_at,
        started_at=started_at,
        now=now,
        parent_run_id=None if run.parent_run_id is None else str(run.parent_run_id),
        parent=None if parent is None else _understood(Manifest, parent.manifest),
        dataset=_dataset(session, run, lease),
        quality=_understood(QualityReport, run.quality),
        attempts=_attempts(told_of_attempts(session, run.id), lease.attempt, worker, started_at, now),
        duplicates_dropped=duplicates_of(session, run.id),
    )


def _understood(model: type[_Document], document: dict[str, Any] | None) -> _Document | None:
    """None as well for what a version wrote that is not of this one."""
    if document is None:
        return None
    try:
        return model.model_validate(document)
    except ValidationError:
        log.warning("document.unreadable", kind=model.__name__)
        return None


def _dataset(session: Session, run: Run, lease: Lease) -> DatasetFacts:
    dataset = session.get_one(Dataset, lease.recipe["dataset_sha256"])
    set_sha256 = dataset.set_sha256
    before = [] if set_sha256 is None else runs_of_set(session, set_sha256, but=run.id, user_id=run.user_id)
    return DatasetFacts(
        source="inline" if run.dataset_url is None else "url",
        url=run.dataset_url and printable_url(run.dataset_url),
        format=run.dataset_format or "unknown",
        notes=tuple(run.dataset_notes or ()),
        rows=dataset.row_count,
        bytes=dataset.byte_count,
        sha256=dataset.sha256,
        set_sha256=set_sha256,
        trained_before=tuple(map(str, before)),
    )


def _attempts(
    events: Sequence[OutboxEvent], current: int, worker: str, started_at: datetime, now: datetime
) -> tuple[AttemptFacts, ...]:
    """Attempts whose beginning was swept away are left out; the current one is always there."""
    found: dict[int, dict[str, Any]] = {}
    for event in events:
        attempt = event.payload["attempt"]
        if event.type == "run.started":
            found[attempt] = {"worker": event.payload["worker"], "started_at": event.occurred_at, "ended": "unknown"}
        elif attempt in found and event.type == "run.requeued":
            found[attempt] |= {"ended": event.payload["reason"], "ended_at": event.occurred_at}
        elif attempt in found and event.payload.get("resumed_from_step"):
            found[attempt]["resumed_from_step"] = event.payload["resumed_from_step"]
    found.setdefault(current, {"worker": worker, "started_at": started_at})
    found[current] |= {"ended": "completed", "ended_at": now}
    return tuple(AttemptFacts(attempt=attempt, **found[attempt]) for attempt in sorted(found))
