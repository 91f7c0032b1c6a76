"""`POST /trigger-finetune?dry_run=true`: everything is validated, nothing is recorded."""

from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel

from oncetune.datasets.urls import printable_url
from oncetune.logs import log
from oncetune.trigger.body import VerifiedTrigger

DryRun = Annotated[bool, Query(description="Validate everything and record nothing; no run comes of it.")]


class Valid(BaseModel):
    """What a request would train: its rows, and the model that its `base_model` stands for."""

    status: Literal["valid"] = "valid"
    dataset_rows: int
    base_model: str
    dataset_sha256: str


class ValidUrl(BaseModel):
    """What a request would train whose rows are not here: nothing is fetched for a dry run."""

    status: Literal["valid"] = "valid"
    dataset_url: str  # without user, query and fragment
    base_model: str


def valid(trigger: VerifiedTrigger, *, user_id: str) -> Valid | ValidUrl:
    """The answer to a request that was verified; whether its kb_id or its key is free is not looked at."""
    rows, model = trigger.rows, trigger.recipe.base_model
    log.info("trigger.valid", outcome="ok", user_id=user_id, kb_id=trigger.kb_id, rows=rows and rows.row_count)
    if rows is None:
        assert trigger.dataset_url is not None
        return ValidUrl(dataset_url=printable_url(trigger.dataset_url), base_model=model)
    return Valid(dataset_rows=rows.row_count, base_model=model, dataset_sha256=rows.sha256)
