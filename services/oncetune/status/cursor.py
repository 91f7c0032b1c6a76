"""Where a page of a list ended, in a word that callers hand back and do not read."""

import re
from datetime import UTC, datetime, timedelta

from oncetune.gateway.errors import Refusal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def cursor_pattern(key: str) -> str:
    """Of a list whose rows of one moment are told apart by a key of the pattern `key`."""
    return f"^[0-9]{{1,16}}_{key}$"  # microseconds of the Unix epoch, up to the year 2286


def write_cursor(moment: datetime, key: str) -> str:
    """The place behind the row of this moment and key, newest first."""
    return f"{(moment - _EPOCH) // _MICROSECOND}_{key}"


def read_cursor(cursor: str, pattern: str) -> tuple[datetime, str]:
    """Moment and key; raises Refusal 400 for a word that `write_cursor` did not make for a list of this pattern."""
    if re.fullmatch(pattern, cursor) is None:
        detail = "cursor: give next_cursor of the page before, unchanged, or leave it out"
        raise Refusal(400, "invalid_cursor", detail)
    microseconds, _, key = cursor.partition("_")
    return _EPOCH + int(microseconds) * _MICROSECOND, key
