"""Which runs a caller may see: an admin every one, another user its own."""

from typing import Annotated
from uuid import UUID

from fastapi import Path
from sqlmodel import Session

from oncetune.gateway.claims import Caller
from oncetune.gateway.errors import Refusal
from oncetune.ledger.reads import find_run
from oncetune.ledger.tables import Run

RunId = Annotated[str, Path(json_schema_extra={"format": "uuid"})]  # another word is no run: 404


def visible_run(session: Session, run_id: str, caller: Caller) -> Run:
    """The run; raises Refusal 404 when there is none of this id, or none of this caller's: nothing tells which."""
    try:
        run = find_run(session, UUID(run_id))
    except ValueError:
        run = None
    if run is None or not (caller.admin or run.user_id == caller.user_id):
        raise Refusal(404, "run_not_found", "There is no such run")
    return run
