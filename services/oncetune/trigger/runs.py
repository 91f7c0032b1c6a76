"""The run that a path names."""

from typing import Annotated
from uuid import UUID

from fastapi import Path
from sqlmodel import Session

from oncetune.gateway.errors import Refusal
from oncetune.ledger.tables import Run

RunId = Annotated[str, Path(json_schema_extra={"format": "uuid"})]  # another word is no run: 404


def existing_run(session: Session, run_id: str) -> Run:
    """Whoever's it is: trigger's routes are for admins. Raises Refusal 404."""
    try:
        run = session.get(Run, UUID(run_id))
    except ValueError:
        run = None
    if run is None:
        raise Refusal(404, "run_not_found", "There is no such run")
    return run
