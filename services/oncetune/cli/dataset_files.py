"""Datasets that a person names: a file or standard input, plain or gzipped."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from pydantic import JsonValue

from oncetune.cli.exits import Exit, Failure
from oncetune.datasets.decoding import PIECE_BYTES, Decoder
from oncetune.datasets.reading import read_rows
from oncetune.datasets.refusal import DatasetRefused
from oncetune.datasets.rows import only_fields, read_row
from oncetune.datasets.survey import Survey

LARGEST_INLINE_BYTES = 64 * 2**20  # the most that a server may be set to take
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def decoded(file: str, *, max_bytes: int) -> Iterator[Path]:
    """The dataset's decoded bytes as a file, in a folder that goes with the block; `-` is standard input.

    Raises Failure when it cannot be opened or finds no room, DatasetRefused when it is too large or damaged.
    """
    with TemporaryDirectory(prefix="oncetune-") as folder:
        plain = Path(folder) / "dataset"
        try:
            with plain.open("wb") as destination:
                if file == "-":
                    _decode(sys.stdin.buffer, destination, max_bytes)
                else:
                    with Path(file).open("rb") as source:
                        _decode(source, destination, max_bytes)
        except OSError as error:
            if error.errno in _NO_ROOM:
                full = f"{folder}: no room for the dataset, decoded"
                raise Failure(full, "Set TMPDIR to a larger disk.", code=Exit.USAGE) from error
            raise Failure(f"{file} cannot be read: {error.strerror}", code=Exit.USAGE) from error
        yield plain


def _decode(source: BinaryIO, destination: BinaryIO, max_bytes: int) -> None:
    decoder = Decoder(max_bytes=max_bytes)
    while piece := source.read(PIECE_BYTES):
        destination.writelines(decoder.decode(piece))
    destination.write(decoder.finish())


def inline_rows(file: str) -> tuple[list[JsonValue], tuple[str, ...]]:
    """The rows as `dataset_inline` takes them, and notes on what was left out of them.

    Raises Failure for a row that a server would refuse, naming it.
    """
    survey = Survey()
    rows: list[JsonValue] = []
    try:
        with decoded(file, max_bytes=LARGEST_INLINE_BYTES) as plain, plain.open("rb") as stream:
            for place, row in read_rows(stream, survey):
                read_row(place, row, survey)
                rows.append(only_fields(row))
    except DatasetRefused as refused:
        raise Failure(f"{file}: {refused}", "Look at all of it with `oncetune dataset check`.") from refused
    return rows, survey.notes()
