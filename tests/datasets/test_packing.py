"""A dataset's name is its content."""

import hashlib
import json
import random
import zlib

import pytest

from oncetune.contracts.preferences import PreferencePair
from oncetune.datasets.packing import CHUNK_BYTES, BrokenDataset, pack_rows, unpack_rows

PAIRS = [
    PreferencePair(prompt="Wie heißt du? 😀", chosen="Ich\nheiße\u2028Ann.", rejected='"'),
    PreferencePair.model_validate({"prompt": [{"role": "user", "content": "x"}], "chosen": "y", "rejected": "z"}),
]


def test_equal_rows_have_one_name_and_the_same_bytes_each_time():
    again = [PreferencePair.model_validate(dict(reversed(pair.model_dump(mode="json").items()))) for pair in PAIRS]
    assert pack_rows(again) == pack_rows(PAIRS)


def test_the_name_of_a_dataset_never_changes():
    assert pack_rows(PAIRS).sha256 == "9646fe7ca08331b4c7b3108fce0c60a9e8e2df0152189849f050fc74d2042c8e"


def test_other_rows_or_another_order_have_another_name():
    names = {pack_rows(rows).sha256 for rows in (PAIRS, PAIRS[::-1], PAIRS[:1], [*PAIRS, PAIRS[0]])}
    assert len(names) == 4


def test_what_is_unpacked_is_canonical_jsonl_one_pair_a_line():
    packed = pack_rows(PAIRS)
    jsonl = unpack_rows(packed.chunks, sha256=packed.sha256)
    assert (len(jsonl), hashlib.sha256(jsonl).hexdigest()) == (packed.byte_count, packed.sha256)
    lines = jsonl.decode().removesuffix("\n").split("\n")
    assert len(lines) == packed.row_count
    assert [PreferencePair.model_validate(json.loads(line)) for line in lines] == PAIRS
    assert all(list(json.loads(line)) == ["chosen", "prompt", "rejected"] for line in lines)


def test_many_rows_are_packed_as_if_they_were_one_piece():
    pairs = [PreferencePair(prompt=f"{number} ü" * 20, chosen="x", rejected="y") for number in range(2000)]
    lines = [json.dumps(pair.model_dump(mode="json"), ensure_ascii=False, sort_keys=True) + "\n" for pair in pairs]
    whole = "".join(lines).encode()
    packed = pack_rows(iter(pairs))
    assert (packed.sha256, packed.row_count) == (hashlib.sha256(whole).hexdigest(), len(pairs))
    assert (packed.byte_count, unpack_rows(packed.chunks, sha256=packed.sha256)) == (len(whole), whole)


def test_no_chunk_is_larger_than_1_mib_and_only_the_last_is_smaller():
    noise = random.Random(1).randbytes(1_500_000).hex()
    packed = pack_rows([PreferencePair(prompt=noise, chosen="x", rejected="y")])
    sizes = [len(chunk) for chunk in packed.chunks]
    assert sizes[:-1] == [CHUNK_BYTES] * (len(sizes) - 1) == [CHUNK_BYTES]
    assert unpack_rows(packed.chunks, sha256=packed.sha256).endswith(b'"}\n')


@pytest.mark.parametrize(
    "spoil",
    [
        lambda packed: [],
        lambda packed: [packed[:-1]],
        lambda packed: [packed[:20], packed[21:]],
        lambda packed: [b"not zlib"],
        lambda packed: [zlib.compress(b"other rows\n")],
    ],
    ids=["none", "cut", "a byte lost", "no zlib", "other rows"],
)
def test_chunks_that_are_not_the_dataset_are_refused_by_its_name(spoil):
    packed = pack_rows(PAIRS)
    with pytest.raises(BrokenDataset, match=packed.sha256):
        unpack_rows(spoil(b"".join(packed.chunks)), sha256=packed.sha256)
