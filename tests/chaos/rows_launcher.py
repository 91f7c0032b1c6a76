"""`python -m tests.chaos.rows_launcher ARMED fetch|examine FOLDER`: the real program for rows, with crash points."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import oncetune.datasets.fetch as fetch
import oncetune.trainer.rows_program as program
from tests.chaos.crash_points import ROWS, install
from tests.chaos.sleeping import sleep_below_libfaketime


def writes_a_piece(file: BinaryIO, pieces: Iterable[bytes]) -> None:
    """Of the fetched file; on the disk when this returns."""
    file.writelines(pieces)
    file.flush()


class _Told:
    """A file whose pieces are told of."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def writelines(self, pieces: Iterable[bytes]) -> None:
        writes_a_piece(self._file, pieces)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _tell_pieces() -> None:
    receive: Any = fetch._receive
    fetch._receive = lambda url, response, file, rules: receive(url, response, _Told(file), rules)


if __name__ == "__main__":
    sys.modules["tests.chaos.rows_launcher"] = sys.modules["__main__"]  # the points wrap the functions that run
    sleep_below_libfaketime()
    _tell_pieces()
    install(Path(sys.argv.pop(1)), ROWS, ROWS)
    sys.exit(program.main())
