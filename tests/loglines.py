"""What a service writes to standard error, read back line by line."""

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from oncetune.logs import configure_logs


class LogLines(io.StringIO):
    """Everything logged so far."""

    def events(self, name: str | None = None, **fields: object) -> list[dict[str, Any]]:
        """The lines of this event name with these fields."""
        lines = [json.loads(line) for line in self.getvalue().splitlines()]
        return [
            line
            for line in lines
            if name in (None, line["event"]) and all(line.get(field) == value for field, value in fields.items())
        ]


@contextmanager
def captured_lines(*, json: bool = True) -> Iterator[LogLines]:
    """Logs configured as a service configures them, with its standard error in hand."""
    lines, stderr = LogLines(), sys.stderr
    sys.stderr = lines
    try:
        configure_logs("tests", json=json)
        yield lines
    finally:
        sys.stderr = stderr
        configure_logs("tests", json=True)
