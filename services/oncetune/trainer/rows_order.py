"""What the trainer and its program for rows leave for each other in the attempt's folder."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from oncetune.contracts.preferences import DatasetFormat, PackedRows

ORDER, PACKED, QUALITY = "fetch.json", "packed", "quality.json"
_CHUNK_BYTES = 1024 * 1024  # the most that the ledger takes at once


class FetchOrder(BaseModel):
    """What is fetched, within which limits; see FetchRules."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str  # whole, it may hold a secret
    max_bytes: int
    deadline: timedelta
    ports: tuple[int, ...]
    allow: tuple[str, ...]
    ca_file: Path | None


class FetchedRows(BaseModel):
    """What came of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    set_sha256: str
    rows: int
    bytes: int
    format: DatasetFormat
    notes: tuple[str, ...]

    def packed(self, folder: Path) -> PackedRows:
        """With the chunks of the file in `folder`, which are read while they are asked for."""
        return PackedRows(
            sha256=self.sha256,
            row_count=self.rows,
            byte_count=self.bytes,
            chunks=_chunks(folder / PACKED),
            set_sha256=self.set_sha256,
            format=self.format,
            notes=self.notes,
        )


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as packed:
        yield from iter(lambda: packed.read(_CHUNK_BYTES), b"")
