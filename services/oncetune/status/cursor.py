"""Where a page of runs ended, in a word that callers hand back and do not read."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from oncetune.gateway.errors import Refusal

PATTERN = "^[0-9]{1,16}_[0-9a-f]{32}$"  # microseconds of the Unix epoch, up to the year 2286, and the run's id
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def write_cursor(created_at: datetime, run_id: UUID) -> str:
    """The place behind this run, newest first."""
    return f"{(created_at - _EPOCH) // _MICROSECOND}_{run_id.hex}"


def read_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Raises Refusal 400 for a word that `write_cursor` did not make."""
    if re.fullmatch(PATTERN, cursor) is None:
        detail = "cursor: give next_cursor of the page before, unchanged, or leave it out"
        raise Refusal(400, "invalid_cursor", detail)
    microseconds, run_id = cursor.split("_")
    return _EPOCH + int(microseconds) * _MICROSECOND, UUID(run_id)
