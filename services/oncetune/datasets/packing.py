"""A dataset as the ledger keeps it: canonical JSONL, named by its hash, compressed, in chunks."""

import hashlib
import json
import zlib
from collections.abc import Iterable

from oncetune.contracts.preferences import PackedRows, PreferencePair

CHUNK_BYTES = 1024 * 1024
_AT_ONCE_BYTES = 64 * 1024


class BrokenDataset(ValueError):
    """The stored chunks are not the dataset that their name promises."""


def pack_rows(pairs: Iterable[PreferencePair]) -> PackedRows:
    """Equal rows in equal order give equal bytes, and so the same name. Each pair is read once and not kept."""
    digest, squeeze = hashlib.sha256(), zlib.compressobj(6)
    packed, waiting = bytearray(), bytearray()
    rows = size = 0
    for pair in pairs:
        waiting += json.dumps(pair.model_dump(mode="json"), ensure_ascii=False, sort_keys=True).encode() + b"\n"
        rows += 1
        if len(waiting) >= _AT_ONCE_BYTES:
            digest.update(waiting)
            packed += squeeze.compress(waiting)
            size += len(waiting)
            waiting.clear()
    digest.update(waiting)
    packed += squeeze.compress(waiting) + squeeze.flush()
    chunks = tuple(bytes(packed[start : start + CHUNK_BYTES]) for start in range(0, len(packed), CHUNK_BYTES))
    return PackedRows(digest.hexdigest(), rows, size + len(waiting), chunks)


def unpack_rows(chunks: Iterable[bytes], *, sha256: str) -> bytes:
    """The canonical JSONL; raises BrokenDataset when the chunks are missing, cut or not what `sha256` names."""
    try:
        jsonl = zlib.decompress(b"".join(chunks))
    except zlib.error as error:
        raise BrokenDataset(f"dataset {sha256}: {error}") from error
    if hashlib.sha256(jsonl).hexdigest() != sha256:
        raise BrokenDataset(f"dataset {sha256}: the stored bytes have another hash")
    return jsonl
