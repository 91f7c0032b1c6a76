"""A dataset's name is its content."""

import hashlib
import json
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncetune.contracts.preferences import PreferencePair
from oncetune.datasets.packing import (
    CHUNK_BYTES,
    canonical_json,
    pack_file,
    pack_rows,
)
from oncetune.datasets.refusal import BadRow, DatasetRefused
from oncetune.datasets.rows import MAX_ROW_BYTES, validate_rows
from oncetune.datasets.survey import Survey
from oncetune.datasets.unpacking import BrokenDataset, unpack_to
from tests.datasets.given import OPENAI, TEXT, ULTRAFEEDBACK, WHOLE, array, jsonl
from tests.datasets.unpacking import unpack_rows

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
    noise = random.Random(1)
    pairs = [PreferencePair(prompt=noise.randbytes(250_000).hex(), chosen="x", rejected="y") for _ in range(6)]
    packed = pack_rows(pairs)
    sizes = [len(chunk) for chunk in packed.chunks]
    assert sizes[:-1] == [CHUNK_BYTES] * (len(sizes) - 1) == [CHUNK_BYTES]
    assert unpack_rows(packed.chunks, sha256=packed.sha256).count(b"\n") == 6


def test_a_row_that_is_larger_than_1_mib_as_canonical_json_is_named():
    pairs = [*PAIRS, PreferencePair(prompt="x" * (MAX_ROW_BYTES - 46), chosen="y", rejected="z")]
    assert len(canonical_json(pairs[-1])) == MAX_ROW_BYTES
    pack_rows(pairs)
    with pytest.raises(BadRow, match=r"^row 3: larger than 1048576 bytes"):
        pack_rows([*PAIRS, pairs[-1].model_copy(update={"chosen": "yy"})])


def test_the_same_rows_are_the_same_dataset_inline_as_a_file_and_compressed(tmp_path):
    rows = [TEXT, WHOLE, OPENAI, ULTRAFEEDBACK]
    survey = Survey()
    inline = pack_rows(validate_rows(rows, survey=survey), survey)
    assert (inline.format, inline.row_count) == ("mixed", 4)
    for content in (jsonl(rows), array(rows)):
        (tmp_path / "rows").write_bytes(content)
        packed = pack_file(tmp_path / "rows", tmp_path / "canonical", tmp_path / "packed")
        assert (packed.sha256, packed.set_sha256, packed.row_count) == (inline.sha256, inline.set_sha256, 4)
        assert (packed.byte_count, packed.format, packed.notes) == (inline.byte_count, "mixed", survey.notes())
        assert tuple(packed.chunks()) == tuple(packed.chunks()) == inline.chunks
        canonical = (tmp_path / "canonical").read_bytes()
        assert canonical == unpack_rows(inline.chunks, sha256=inline.sha256)
        unpack_to(packed.chunks(), tmp_path / "again", sha256=packed.sha256)
        assert (tmp_path / "again").read_bytes() == canonical


def test_a_canonical_file_is_packed_to_itself(tmp_path):
    (tmp_path / "rows").write_bytes(jsonl([WHOLE, OPENAI]))
    first = pack_file(tmp_path / "rows", tmp_path / "canonical", tmp_path / "packed")
    second = pack_file(tmp_path / "canonical", tmp_path / "canonical again", tmp_path / "packed")
    assert (first.sha256, first.format, second.format) == (second.sha256, "mixed", "messages")


def test_the_name_of_a_set_never_changes():
    wanted = "4100cdcea195eeab967a9d6b6dc42e61decd33a74fcd05d39a8b1fc90e24f3ba"
    assert pack_rows(PAIRS).set_sha256 == wanted


def test_the_name_of_a_set_is_what_its_formula_says():
    total = 0
    for pair in PAIRS:
        digest = hashlib.sha256(canonical_json(pair)).digest()
        total = (total + int.from_bytes(hashlib.shake_256(digest).digest(512), "big")) % 2**4096
    assert pack_rows(PAIRS).set_sha256 == hashlib.sha256(total.to_bytes(512, "big")).hexdigest()


TEXTS = st.text("ab", min_size=1, max_size=2)
SOME_PAIRS = st.lists(st.builds(PreferencePair, prompt=TEXTS, chosen=TEXTS, rejected=TEXTS), min_size=1, max_size=6)


@settings(max_examples=200)
@given(ours=SOME_PAIRS, theirs=SOME_PAIRS, order=st.randoms(use_true_random=False))
def test_two_sets_have_one_name_exactly_if_they_hold_the_same_rows_as_often(ours, theirs, order):
    shuffled = order.sample(ours, len(ours))
    assert pack_rows(shuffled).set_sha256 == pack_rows(ours).set_sha256
    assert pack_rows([*ours, ours[0]]).set_sha256 != pack_rows(ours).set_sha256
    same = sorted(map(repr, ours)) == sorted(map(repr, theirs))
    assert (pack_rows(ours).set_sha256 == pack_rows(theirs).set_sha256) == same


@pytest.mark.parametrize("field", ["prompt", "chosen", "rejected"])
def test_a_changed_character_changes_both_names(field):
    before, after = (pack_rows(validate_rows([row, TEXT])) for row in (TEXT, TEXT | {field: TEXT[field] + "."}))
    assert before.sha256 != after.sha256
    assert before.set_sha256 != after.set_sha256


def test_a_refused_row_ends_the_packing_of_a_file(tmp_path):
    (tmp_path / "rows").write_bytes(jsonl([TEXT, TEXT | {"chosen": ""}]))
    with pytest.raises(DatasetRefused, match=r"^line 2: chosen is empty") as refusal:
        pack_file(tmp_path / "rows", tmp_path / "canonical", tmp_path / "packed")
    assert refusal.value.code == "invalid_dataset"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda packed: [],
        lambda packed: [packed, b"more"],
        lambda packed: [packed[:-4]],
        lambda packed: [packed[:-1]],
        lambda packed: [packed[:20], packed[21:]],
        lambda packed: [b"not zlib"],
        lambda packed: [zlib.compress(b"other rows\n")],
    ],
    ids=["none", "more", "without its checksum", "cut", "a byte lost", "no zlib", "other rows"],
)
def test_chunks_that_are_not_the_dataset_are_refused_by_its_name(spoil, tmp_path):
    packed = pack_rows(PAIRS)
    spoilt = spoil(b"".join(packed.chunks))
    with pytest.raises(BrokenDataset, match=packed.sha256):
        unpack_rows(spoilt, sha256=packed.sha256)
    with pytest.raises(BrokenDataset, match=packed.sha256):
        unpack_to(spoilt, tmp_path / "rows", sha256=packed.sha256)
    assert not (tmp_path / "rows").exists()
