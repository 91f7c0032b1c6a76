"""A file that is there whole or not at all."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """`path`, opened to be overwritten; it is gone when the block raises, whatever was raised."""
    with ExitStack() as undo:
        undo.callback(path.unlink, missing_ok=True)
        with path.open("wb") as file:
            yield file
        undo.pop_all()
