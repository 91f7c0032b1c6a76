"""Where a page of runs ended, in a word that callers hand back and do not read."""

import base64
import binascii
from datetime import UTC, datetime
from uuid import UUID

from oncetune.gateway.errors import Refusal


def write_cursor(created_at: datetime, run_id: UUID) -> str:
    """The place behind this run, newest first; 40 to 80 characters of base64url."""
    place = f"{created_at.astimezone(UTC).isoformat()} {run_id}"
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Raises Refusal 400 for a word that `write_cursor` did not make."""
    try:
        place = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        created_at, run_id = place.split(" ")
        time = datetime.fromisoformat(created_at)
        if time.tzinfo is None:
            raise ValueError("a time without a zone")
        return time, UUID(run_id)
    except (binascii.Error, ValueError) as error:
        detail = "cursor: give next_cursor of the page before, unchanged, or leave it out"
        raise Refusal(400, "invalid_cursor", detail) from error
