"""A stored dataset as a stream: whoever reads it holds a piece, never the whole."""

import hashlib
import zlib
from collections.abc import Iterable, Iterator

from oncetune.datasets.packing import BrokenDataset

PIECE_BYTES = 256 * 1024


def unpack_pieces(chunks: Iterable[bytes], *, sha256: str, byte_count: int) -> Iterator[bytes]:
    """The canonical JSONL in pieces of at most PIECE_BYTES, at least one; raises BrokenDataset.

    The last piece comes only after all bytes were counted and hashed: who has it has what `sha256` names.
    """
    digest, size, held = hashlib.sha256(), 0, b""
    try:
        for piece in _expanded(chunks):
            digest.update(piece)
            size += len(piece)
            if size > byte_count:
                break
            if held:
                yield held
            held = piece
    except zlib.error as error:
        raise BrokenDataset(f"dataset {sha256}: {error}") from error
    if size != byte_count or digest.hexdigest() != sha256:
        raise BrokenDataset(f"dataset {sha256}: the stored bytes have another length or hash")
    yield held


def _expanded(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What one zlib stream in many chunks stands for; one that expands a thousandfold does so in pieces, too."""
    expand = zlib.decompressobj()
    for chunk in chunks:
        rest = chunk
        while rest:
            piece = expand.decompress(rest, PIECE_BYTES)
            rest = expand.unconsumed_tail
            if piece:
                yield piece
