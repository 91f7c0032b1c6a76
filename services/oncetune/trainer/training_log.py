"""What a training child prints, kept up to a size."""

import os
from contextlib import suppress
from typing import IO

THE_REST_IS_MISSING = b"\n[oncetune] The log is full: what was printed after this is not kept.\n"
_AT_ONCE = 64 * 1024  # bytes: what a pipe holds


def keep_output(printed: IO[bytes], kept: IO[bytes], *, limit: int) -> None:
    """Copy until the other end is closed; of what is beyond `limit` bytes, one line tells. Closes both.

    All of it is read, whatever becomes of the file: a training neither waits for a disk nor dies of it. `kept` is
    unbuffered.
    """
    room = limit
    with printed, kept:
        while chunk := os.read(printed.fileno(), _AT_ONCE):
            with suppress(OSError):  # a full disk may have room again for the next
                kept.write(chunk[: max(0, room)])
                if 0 <= room < len(chunk):
                    kept.write(THE_REST_IS_MISSING)
            room -= len(chunk)
