"""A dataset as the ledger keeps it: canonical JSONL, named by its hash, compressed, in chunks."""

import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence

from oncetune.contracts.preferences import PackedRows, PreferencePair

CHUNK_BYTES = 1024 * 1024


class BrokenDataset(ValueError):
    """The stored chunks are not the dataset that their name promises."""


def pack_rows(pairs: Sequence[PreferencePair]) -> PackedRows:
    """Equal rows in equal order give equal bytes, and so the same name."""
    lines = [json.dumps(pair.model_dump(mode="json"), ensure_ascii=False, sort_keys=True) for pair in pairs]
    jsonl = ("\n".join(lines) + "\n").encode()
    packed = zlib.compress(jsonl, 6)
    chunks = tuple(packed[start : start + CHUNK_BYTES] for start in range(0, len(packed), CHUNK_BYTES))
    return PackedRows(hashlib.sha256(jsonl).hexdigest(), len(pairs), len(jsonl), chunks)


def unpack_rows(chunks: Iterable[bytes], *, sha256: str) -> bytes:
    """The canonical JSONL; raises BrokenDataset when the chunks are missing, cut or not what `sha256` names."""
    try:
        jsonl = zlib.decompress(b"".join(chunks))
    except zlib.error as error:
        raise BrokenDataset(f"dataset {sha256}: {error}") from error
    if hashlib.sha256(jsonl).hexdigest() != sha256:
        raise BrokenDataset(f"dataset {sha256}: the stored bytes have another hash")
    return jsonl
