"""A stored dataset comes back in pieces, whole or not at all."""

import hashlib
import tracemalloc
import zlib
from itertools import pairwise

import pytest

from oncetune.datasets.packing import CHUNK_BYTES
from oncetune.datasets.unpacking import PIECE_BYTES, BrokenDataset, unpack_pieces


def packed(rows: bytes, chunk: int = CHUNK_BYTES) -> tuple[list[bytes], str]:
    whole = zlib.compress(rows)
    starts = [*range(0, len(whole), chunk), len(whole)]
    return [whole[one:next_] for one, next_ in pairwise(starts)], hashlib.sha256(rows).hexdigest()


@pytest.mark.parametrize("chunk", [1, 7, 1000, CHUNK_BYTES])
@pytest.mark.parametrize("size", [1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES])
def test_the_pieces_are_the_rows_in_their_order_however_the_chunks_are_cut(size, chunk):
    rows = bytes(number * number % 251 for number in range(size))
    chunks, sha256 = packed(rows, chunk)
    pieces = list(unpack_pieces(chunks, sha256=sha256, byte_count=size))
    assert b"".join(pieces) == rows
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)


SPOILT = {
    "a chunk is missing": lambda chunks: chunks[:-1],
    "cut": lambda chunks: [*chunks[:-1], chunks[-1][:-6]],
    "without a byte of its checksum": lambda chunks: [*chunks[:-1], chunks[-1][:-1]],
    "a chunk more": lambda chunks: [*chunks, b"more"],
    "bytes after the end": lambda chunks: [*chunks[:-1], chunks[-1] + b"more"],
    "none": lambda chunks: [],
    "in another order": lambda chunks: chunks[::-1],
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_the_last_piece_of_a_spoilt_dataset_never_comes(spoil):
    rows = b"".join(hashlib.sha256(bytes([number % 256, number // 256])).digest() for number in range(30_000))
    chunks, sha256 = packed(rows, 100_000)
    got: list[bytes] = []
    with pytest.raises(BrokenDataset):
        got.extend(unpack_pieces(spoil(chunks), sha256=sha256, byte_count=len(rows)))  # keeps what came before
    assert rows.startswith(b"".join(got)) and sum(map(len, got)) < len(rows)


def test_other_rows_of_the_same_length_are_noticed_before_their_last_piece():
    chunks, _ = packed(b"a" * 10)
    with pytest.raises(BrokenDataset):
        next(unpack_pieces(chunks, sha256=hashlib.sha256(b"b" * 10).hexdigest(), byte_count=10))


def test_a_dataset_that_expands_a_thousandfold_takes_the_memory_of_some_pieces():
    size = 256 * 2**20
    chunks, _ = packed(bytes(size))
    tracemalloc.start()
    try:
        with pytest.raises(BrokenDataset):
            sum(map(len, unpack_pieces(chunks, sha256="0" * 64, byte_count=size)))
        assert tracemalloc.get_traced_memory()[1] < 3 * 2**20
    finally:
        tracemalloc.stop()


def test_more_than_was_promised_is_not_expanded():
    chunks, sha256 = packed(bytes(64 * 2**20))
    pieces = unpack_pieces(chunks, sha256=sha256, byte_count=3 * PIECE_BYTES)
    with pytest.raises(BrokenDataset):
        assert sum(map(len, pieces)) <= 3 * PIECE_BYTES
