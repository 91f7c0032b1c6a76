"""A dataset as the ledger keeps it: canonical JSONL, named by its hash, compressed, in chunks."""

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import BinaryIO

from oncetune.contracts.preferences import DatasetFormat, PackedRows, PreferencePair
from oncetune.datasets.fingerprint import SetFingerprint
from oncetune.datasets.reading import read_pairs
from oncetune.datasets.refusal import BadRow
from oncetune.datasets.rows import MAX_ROW_BYTES, TOO_LARGE
from oncetune.datasets.survey import Survey

CHUNK_BYTES = 1024 * 1024
_AT_ONCE_BYTES = 64 * 1024


@dataclass(frozen=True)
class PackedFile:
    """A dataset as PackedRows describes it, whose zlib stream is a file: no memory grows with it."""

    path: Path  # of the zlib stream
    sha256: str
    row_count: int
    byte_count: int  # of the JSONL
    set_sha256: str
    format: DatasetFormat
    notes: tuple[str, ...]  # sentences for a person, see Survey.notes

    def chunks(self) -> Iterator[bytes]:
        """The zlib stream in chunks of at most 1 MiB, from its beginning each time."""
        with self.path.open("rb") as packed:
            yield from iter(lambda: packed.read(CHUNK_BYTES), b"")


@dataclass
class _Canonical:
    """The canonical JSONL of some pairs and its zlib stream, and what they are named by. `survey` is filled by the
    reader of the pairs."""

    survey: Survey
    row_count: int = 0
    byte_count: int = 0  # of the JSONL
    sha256: str = ""
    set_sha256: str = ""

    def write(self, pairs: Iterable[PreferencePair], packed: BinaryIO, jsonl: BinaryIO | None = None) -> None:
        """In one pass, once. Raises BadRow, and whatever the reader of `pairs` does."""
        digest, fingerprint, squeeze = hashlib.sha256(), SetFingerprint(), zlib.compressobj(6)
        for piece in _pieces(self._lines(pairs, fingerprint)):
            digest.update(piece)
            packed.write(squeeze.compress(piece))
            if jsonl is not None:
                jsonl.write(piece)
            self.byte_count += len(piece)
        packed.write(squeeze.flush())
        self.sha256, self.set_sha256 = digest.hexdigest(), fingerprint.hexdigest()

    def _lines(self, pairs: Iterable[PreferencePair], fingerprint: SetFingerprint) -> Iterator[bytes]:
        for pair in pairs:
            line = canonical_json(pair)
            if len(line) > MAX_ROW_BYTES:
                raise BadRow(f"{self.survey.place}: {TOO_LARGE}")
            fingerprint.add(line)
            self.row_count += 1
            yield line + b"\n"


def pack_rows(pairs: Iterable[PreferencePair], survey: Survey | None = None) -> PackedRows:
    """Equal rows in equal order give equal bytes, and so the same name. Each pair is read once and not kept.

    `survey` is what the reader of `pairs` fills; without one the pairs arrived as they are.
    """
    if survey is None:
        survey = Survey()
        pairs = survey.watch(pairs)
    packed = BytesIO()
    canonical = _Canonical(survey)
    canonical.write(pairs, packed)
    packed.seek(0)
    return PackedRows(
        sha256=canonical.sha256,
        row_count=canonical.row_count,
        byte_count=canonical.byte_count,
        chunks=tuple(iter(lambda: packed.read(CHUNK_BYTES), b"")),
        set_sha256=canonical.set_sha256,
        format=survey.format,
        notes=survey.notes(),
    )


def pack_file(source: Path, canonical: Path, packed: Path) -> PackedFile:
    """Read rows of any known format from `source` (a JSON array or JSON lines, not compressed), write their canonical
    JSONL to `canonical` and its zlib stream to `packed`, in one pass and with a few MiB of memory.

    Raises DatasetRefused for the first row that cannot be trained on; what was written until then stays.
    """
    with source.open("rb") as stream:
        return pack_stream(stream, canonical, packed)


def pack_stream(stream: BufferedReader, canonical: Path, packed: Path) -> PackedFile:
    """As `pack_file`, from an open stream that is read once from where it stands."""
    survey = Survey()
    facts = _Canonical(survey)
    with canonical.open("wb") as jsonl, packed.open("wb") as squeezed:
        facts.write(read_pairs(stream, survey), squeezed, jsonl)
    return PackedFile(
        path=packed,
        sha256=facts.sha256,
        row_count=facts.row_count,
        byte_count=facts.byte_count,
        set_sha256=facts.set_sha256,
        format=survey.format,
        notes=survey.notes(),
    )


def canonical_json(pair: PreferencePair) -> bytes:
    """A row as it is hashed and stored: sorted keys, UTF-8, no newline at the end."""
    return json.dumps(pair.model_dump(mode="json"), ensure_ascii=False, sort_keys=True).encode()


def _pieces(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Many lines at once: each turn of the compressor costs more than a line."""
    waiting = bytearray()
    for line in lines:
        waiting += line
        if len(waiting) >= _AT_ONCE_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)
