"""What is printed: data on standard output, everything else on standard error."""

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime


def tell(line: str) -> None:
    """A line for a person."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def put(text: str) -> None:
    """Data, for whoever reads standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_json(document: object) -> None:
    """One document for a machine."""
    put(json.dumps(document, indent=2, ensure_ascii=False))


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows as aligned lines."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def moment(seconds: object) -> str:
    """Unix seconds as local time; a dash when it is unknown or none."""
    if not isinstance(seconds, int | float):
        return "-"
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):  # a server may say any number
        return "-"


class ProgressLine:
    """One line that is rewritten on a terminal; elsewhere, and with NO_COLOR, a new line when something changed."""

    def __init__(self) -> None:
        self._rewrites = sys.stderr.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self._shown = ""

    def show(self, line: str) -> None:
        """Replace what was shown."""
        if line == self._shown:
            return
        if self._rewrites:
            width = os.get_terminal_size(sys.stderr.fileno()).columns
            sys.stderr.write(f"\r\x1b[K{line[: width - 1]}")
            sys.stderr.flush()
        else:
            tell(line)
        self._shown = line

    def end(self) -> None:
        """Keep what is shown and go to the next line."""
        if self._rewrites and self._shown:
            tell("")
        self._shown = ""
