"""The events of a run: past tense, frozen, read tolerantly. What is published is never renamed or taken away.

Every event of a run has a `position` 1, 2, 3 … without a gap, given by the ledger in the statement that made the
change. No event carries text of the dataset.
"""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from oncetune.contracts.progress import Measured


class _Fact(BaseModel):
    """What every event says. `event_id` is the CloudEvent's id; the rest is its data."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    event_id: UUID
    run_id: UUID
    position: Annotated[int, Field(ge=1)]
    occurred_at: AwareDatetime


class RunRequested(_Fact):
    type: Literal["run.requested"] = "run.requested"
    user_id: str
    kb_id: str
    exp_name: str
    algo: str
    base_model: str
    recipe_version: int
    dataset_sha256: str | None = None  # None, with dataset_rows: of a URL, see RunDatasetStored
    dataset_rows: int | None = None
    dataset_url: str | None = None  # without user, query and fragment: they may hold a secret
    parent_run_id: UUID | None = None  # the run that this one repeats
    hyperparameters: dict[str, JsonValue]


class RunDatasetStored(_Fact):
    """The dataset of a URL was fetched and kept: every attempt of the run trains on these bytes."""

    type: Literal["run.dataset_stored"] = "run.dataset_stored"
    attempt: int
    dataset_sha256: str
    dataset_set_sha256: str
    dataset_rows: int
    dataset_bytes: int
    dataset_format: str


class RunStarted(_Fact):
    type: Literal["run.started"] = "run.started"
    attempt: int
    worker: str


class RunProgress(_Fact):
    type: Literal["run.progress"] = "run.progress"
    attempt: int
    step: int
    steps: int
    loss: Measured = None
    reward_margin: Measured = None
    reward_accuracy: Measured = None
    resumed_from_step: int | None = None  # the attempt went on from this step of an earlier one


class RunRequeued(_Fact):
    """The lease ended without a result and the run waits for its next attempt."""

    type: Literal["run.requeued"] = "run.requeued"
    attempt: int
    reason: str  # an EndReason of the ledger
    strikes: int
    available_at: datetime


class RunCancelRequested(_Fact):
    type: Literal["run.cancel_requested"] = "run.cancel_requested"
    requested_by: str


class RunCompleted(_Fact):
    type: Literal["run.completed"] = "run.completed"
    attempt: int
    artifact_uri: str
    adapter_sha256: str
    metrics: dict[str, JsonValue]


class RunFailed(_Fact):
    type: Literal["run.failed"] = "run.failed"
    attempt: int
    code: str
    message: str


class RunCancelled(_Fact):
    type: Literal["run.cancelled"] = "run.cancelled"
    attempt: int


RunEvent = (
    RunRequested
    | RunDatasetStored
    | RunStarted
    | RunProgress
    | RunRequeued
    | RunCancelRequested
    | RunCompleted
    | RunFailed
    | RunCancelled
)
run_event: TypeAdapter[RunEvent] = TypeAdapter(Annotated[RunEvent, Field(discriminator="type")])
