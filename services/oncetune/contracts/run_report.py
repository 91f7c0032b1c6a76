"""report.json: what a person who was not there needs to understand a run; report.html and the model card show it.

The trainer writes FOLDER/results/report.json (a RunReport) once its child has finished, and starts `python -m
oncetune.report FOLDER`, which writes FOLDER/results/report.html beside it and FOLDER/adapter/README.md.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from oncetune.contracts.manifest import Manifest
from oncetune.contracts.quality import QualityReport
from oncetune.contracts.training_record import Phase, TrainingRecord

RESULTS_FOLDER = "results"
REPORT_JSON, REPORT_HTML, MANIFEST_JSON = "report.json", "report.html", "manifest.json"
MODEL_CARD = "README.md"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class DatasetFacts(_Part):
    """Where the rows came from and what they are."""

    source: Literal["inline", "url"]
    url: str | None = None  # without user, query and fragment: they may hold a secret
    format: str  # as it arrived: text, messages, openai, shared_prefix, mixed
    notes: tuple[str, ...] = ()  # what was read otherwise than it stood there
    rows: Annotated[int, Field(ge=1)]
    bytes: Annotated[int, Field(ge=1)]  # of the canonical JSONL
    sha256: str
    set_sha256: str | None = None
    trained_before: tuple[str, ...] = ()  # run ids that trained this very set, newest first


class AttemptFacts(_Part):
    """One try at the run."""

    attempt: Annotated[int, Field(ge=1)]
    worker: str
    started_at: datetime
    ended_at: datetime | None = None
    ended: str  # completed, or why the lease ended: released, expired, child_died, …
    resumed_from_step: int | None = None


class RunReport(_Part):
    """The whole report. Durations are seconds, times are UTC."""

    report_version: Literal[1] = 1
    run_id: str
    kb_id: str
    exp_name: str
    requested_model: str
    requested_at: datetime
    started_at: datetime
    made_at: datetime
    dataset: DatasetFacts
    quality: QualityReport | None = None  # None: the gate was off, or the look at the rows failed
    training: TrainingRecord
    attempts: tuple[AttemptFacts, ...]
    duplicates_dropped: int = 0  # deliveries of this run's events, until the report was made
    phases: tuple[Phase, ...] = ()  # of the last attempt, those of the child among them
    manifest: Manifest
    # Field → the parent's value and this run's; None: there is no parent, or none whose manifest can be read.
    differs_from_parent: dict[str, tuple[str, str]] | None = None
