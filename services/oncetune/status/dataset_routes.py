"""HTTP out: what a run learned from, and everything that is needed to do it again."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session

from oncetune.contracts.manifest import Manifest
from oncetune.contracts.quality import QualityReport
from oncetune.contracts.run import TERMINAL
from oncetune.datasets.urls import printable_url
from oncetune.gateway.callers import SignedCaller
from oncetune.gateway.claims import Caller
from oncetune.gateway.errors import Refusal
from oncetune.gateway.openapi import refusals
from oncetune.ledger.datasets import find_dataset, runs_of_set
from oncetune.ledger.tables import Dataset, Run
from oncetune.postgres import transaction
from oncetune.status.answers import NOT_FOUND, Absent
from oncetune.status.visibility import RunId, visible_run

dataset_routes = APIRouter(tags=["datasets"])

_RUN_ID, _PARENT = "0199f3a4-6c1e-7d52-9a3b-5e8f0c2d4b61", "0199f2b0-11aa-7c3d-8e4f-0a1b2c3d4e5f"
_FINDING = {
    "code": "equal_answers",
    "level": "error",
    "count": 2,
    "message": "2 of 1,200 rows (0.2 %) have the same answer as chosen and as rejected, so there is nothing to prefer, "
    "and training leaves out what its tokenizer reads alike: change or remove them",
    "lines": [17, 403],
}
_DATASET: dict[str, Any] = {
    "source": "url",
    "url": "https://rows.example/support.jsonl.gz",
    "format": "text",
    "notes": ["Columns that are not trained on were left out: score (1200 rows)."],
    "sha256": "5e" * 32,
    "set_sha256": "c4" * 32,
    "rows": 1200,
    "bytes": 482113,
    "trained_before": [_PARENT],
    "quality": {"rows": 1200, "findings": [_FINDING], "numbers": {"chosen_characters_median": 311}},
}
_MANIFEST: dict[str, Any] = {
    "manifest_version": 1,
    "run_id": _RUN_ID,
    "parent_run_id": _PARENT,
    "dataset_sha256": "5e" * 32,
    "dataset_set_sha256": "c4" * 32,
    "dataset_rows": 1200,
    "base_model": "HuggingFaceH4/zephyr-7b-beta",
    "base_model_revision": "892b3d7a7b1cf10c7a701c60881cd93df615734c",
    "hyperparameters": {"beta": 0.1, "epochs": 1},
    "quality_gate": "warn",
    "seed": 42,
    "packages": {"trl": "1.8.0"},
    "python": "3.12.7",
    "platform": "Linux-x86_64",
    "device": "NVIDIA H100",
    "device_kind": "cuda",
    "precision": "bfloat16",
    "code_version": "1.0.0",
    "code_sha256": "ab" * 32,
    "weights_sha256": "cd" * 32,
}


class DatasetAnswer(BaseModel):
    """The rows of a run; what is not known yet is left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DATASET]})

    source: Annotated[Literal["inline", "url"], Field(description="How the rows came")]
    url: Annotated[str | Absent, Field(description="Without what may be a secret: user, query, fragment")] = None
    format: Annotated[str | Absent, Field(description="As the rows came; they are kept in one form")] = None
    notes: Annotated[list[str] | Absent, Field(description="What was read otherwise than it stood there")] = None
    sha256: Annotated[str | Absent, Field(description="Of the canonical JSONL: these rows in this order")] = None
    set_sha256: Annotated[str | Absent, Field(description="Of the set of rows, in any order")] = None
    rows: int | Absent = None
    bytes: Annotated[int | Absent, Field(description="Of the canonical JSONL")] = None
    trained_before: Annotated[
        list[str] | Absent,
        Field(description="The newest runs that had trained on this very set before, of those that the caller sees"),
    ] = None
    quality: Annotated[QualityReport | Absent, Field(description="Line numbers are of the canonical JSONL")] = None


class ManifestAnswer(Manifest):
    """Everything that is needed to do the run again."""

    model_config = ConfigDict(json_schema_extra={"examples": [_MANIFEST]})


@dataset_routes.get("/runs/{run_id}/dataset", response_model_exclude_none=True, responses=NOT_FOUND)
def show_dataset(run_id: RunId, caller: SignedCaller, request: Request) -> DatasetAnswer:
    """What the run learns from, what was found in it, and which runs learned from the same rows before."""
    with transaction(request.app.state.status) as session:
        run = visible_run(session, run_id, caller)
        dataset = find_dataset(session, run)
        before = None if dataset is None else _trained_before(session, run, dataset, caller)
    answer = DatasetAnswer(
        source="inline" if run.dataset_url is None else "url",
        url=None if run.dataset_url is None else printable_url(run.dataset_url),
        format=run.dataset_format,
        notes=run.dataset_notes or None,
        quality=None if run.quality is None else QualityReport.model_validate(run.quality),
        trained_before=before,
    )
    if dataset is None:
        return answer
    kept = {"sha256": dataset.sha256, "set_sha256": dataset.set_sha256}
    return answer.model_copy(update={**kept, "rows": dataset.row_count, "bytes": dataset.byte_count})


def _trained_before(session: Session, run: Run, dataset: Dataset, caller: Caller) -> list[str] | None:
    """None where the set's fingerprint is not known: its dataset was stored by the version before."""
    if dataset.set_sha256 is None:
        return None
    user_id = None if caller.admin else caller.user_id
    found = runs_of_set(session, dataset.set_sha256, but=run.id, user_id=user_id, before=run.started_at)
    return [str(run_id) for run_id in found]


@dataset_routes.get(
    "/runs/{run_id}/manifest",
    response_model_exclude_none=True,
    responses=refusals(
        {
            404: {
                "run_not_found": "There is no such run",
                "manifest_not_ready": "The run has no manifest: it is written when the run completes",
            }
        }
    ),
)
def show_manifest(run_id: RunId, caller: SignedCaller, request: Request) -> ManifestAnswer:
    """The reproducibility manifest of a completed run."""
    with transaction(request.app.state.status) as session:
        run = visible_run(session, run_id, caller)
    if run.manifest is None:
        why = "it ended without one" if run.state in TERMINAL else "it is written when the run completes"
        raise Refusal(404, "manifest_not_ready", f"The run has no manifest: {why}")
    return ManifestAnswer.model_validate(run.manifest)
