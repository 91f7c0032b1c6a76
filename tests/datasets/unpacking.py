"""The rows of a dataset from its chunks, in memory."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from oncetune.datasets.unpacking import unpack_to


def unpack_rows(chunks: Iterable[bytes], *, sha256: str) -> bytes:
    """The canonical JSONL; raises as `unpack_to`."""
    with TemporaryDirectory() as folder:
        unpack_to(chunks, jsonl := Path(folder, "dataset.jsonl"), sha256=sha256)
        return jsonl.read_bytes()
