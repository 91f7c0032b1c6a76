"""A stored dataset as a stream: whoever reads it holds a piece, never the whole."""

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from oncetune.datasets.whole_file import whole_file

PIECE_BYTES = 256 * 1024


class BrokenDataset(ValueError):
    """The stored chunks are not the dataset that their name promises."""


def unpack_pieces(chunks: Iterable[bytes], *, sha256: str, byte_count: int | None = None) -> Iterator[bytes]:
    """The canonical JSONL in pieces of at most PIECE_BYTES, at least one.

    Raises BrokenDataset when the chunks are missing, cut, too many or not what `sha256` names. The last piece comes
    only after all bytes were counted and hashed: who has it has the whole. Without `byte_count` the hash alone says it.
    """
    digest, size, held, stretch = hashlib.sha256(), 0, b"", zlib.decompressobj()
    try:
        for piece in _stretched(chunks, stretch):
            digest.update(piece)
            size += len(piece)
            if byte_count is not None and size > byte_count:
                break
            if held:
                yield held
            held = piece
    except zlib.error as error:
        raise BrokenDataset(f"dataset {sha256}: {error}") from error
    if not stretch.eof or stretch.unused_data:
        raise BrokenDataset(f"dataset {sha256}: the stored bytes are cut, or there are too many")
    if digest.hexdigest() != sha256 or byte_count not in (size, None):
        raise BrokenDataset(f"dataset {sha256}: the stored bytes have another length or hash")
    yield held


def unpack_to(chunks: Iterable[bytes], destination: Path, *, sha256: str) -> None:
    """Write the canonical JSONL to `destination`, piece by piece. Raises BrokenDataset; then `destination` is gone."""
    with whole_file(destination) as jsonl:
        jsonl.writelines(unpack_pieces(chunks, sha256=sha256))


def _stretched(chunks: Iterable[bytes], stretch: "zlib._Decompress") -> Iterator[bytes]:
    """What one zlib stream in many chunks stands for; one that expands a thousandfold does so in pieces, too."""
    for chunk in chunks:
        rest = chunk
        while rest:
            piece = stretch.decompress(rest, PIECE_BYTES)
            rest = stretch.unconsumed_tail
            if piece:
                yield piece
        if stretch.unused_data:
            return
