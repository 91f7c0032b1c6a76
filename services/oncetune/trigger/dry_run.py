"""`POST /trigger-finetune?dry_run=true`: everything is validated, nothing is recorded."""

from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel

from oncetune.logs import log
from oncetune.trigger.body import VerifiedTrigger

DryRun = Annotated[bool, Query(description="Validate everything and record nothing; no run comes of it.")]


class Valid(BaseModel):
    """What a request would train: its rows, and the model that its `base_model` stands for."""

    status: Literal["valid"] = "valid"
    dataset_rows: int
    base_model: str
    dataset_sha256: str


def valid(trigger: VerifiedTrigger, *, user_id: str) -> Valid:
    """The answer to a request that was verified; whether its kb_id or its key is free is not looked at."""
    log.info("trigger.valid", outcome="ok", user_id=user_id, kb_id=trigger.kb_id, rows=trigger.rows.row_count)
    return Valid(
        dataset_rows=trigger.rows.row_count,
        base_model=trigger.recipe.base_model,
        dataset_sha256=trigger.rows.sha256,
    )
