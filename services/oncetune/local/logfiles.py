"""The log of each program: a file that is kept once over, and the lines in it that a person should see at once."""

import json
from pathlib import Path
from typing import BinaryIO

KEEP_BELOW_BYTES = 10 * 1024 * 1024
_HIDDEN = ("ts", "level", "svc", "event", "exception")


def open_log(path: Path) -> BinaryIO:
    """Append to the log; one that grew beyond 10 MiB is set aside as `.1` first, in place of the one before it."""
    if path.exists() and path.stat().st_size > KEEP_BELOW_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log as a person reads them, without blank ones; empty when there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16384))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    told = [part for line in lines[-count:] for part in _readable(line).splitlines()]
    return [line for line in told if line.strip()][-count:]


def _readable(line: str) -> str:
    """What an entry says; a traceback inside it gets its lines back."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    return str(entry.get("event") or entry.get("msg") or line) if isinstance(entry, dict) else line


class Tail:
    """The warnings that a service writes into its log from now on, as short lines for a terminal."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def warnings(self) -> list[str]:
        """What was written since the last call and is a warning or worse; lines that are not JSON are left out."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                fresh = file.read(1024 * 1024)
        except OSError:
            return []
        self._offset += len(fresh)
        *lines, self._rest = (self._rest + fresh).split(b"\n")
        return [told for told in map(_told, lines) if told]


def _told(line: bytes) -> str | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict) or entry.get("level") not in ("warning", "error", "critical"):
        return None
    fields = " ".join(f"{name}={value}" for name, value in entry.items() if name not in _HIDDEN)
    return f"{entry['level']}: {entry.get('event')} {fields}".strip()[:400]
