"""What a body says, however it comes: plain or gzip, in whatever pieces."""

import gzip
import json
import os
import zlib
from collections import deque
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncetune.datasets.decoding import PIECE_BYTES, Decoder
from oncetune.datasets.refusal import DatasetRefused

MIB = 2**20


def decoded(*pieces: bytes, max_bytes: int = 10 * MIB) -> bytes:
    decoder = Decoder(max_bytes=max_bytes)
    texts = [text for piece in pieces for text in decoder.decode(piece)]
    texts.append(decoder.finish())
    assert max(map(len, texts)) <= max(PIECE_BYTES, *map(len, pieces))
    assert (decoder.taken, decoder.decoded) == (sum(map(len, pieces)), sum(map(len, texts)))
    return b"".join(texts)


def refusal(*pieces: bytes, max_bytes: int = 10 * MIB) -> str:
    with pytest.raises(DatasetRefused) as refused:
        decoded(*pieces, max_bytes=max_bytes)
    return refused.value.code


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)] or [b""]


@given(st.binary().filter(lambda text: not text.startswith(b"\x1f")), st.integers(1, 7))
def test_a_plain_body_is_given_as_it_is(text, size):
    assert decoded(*cut(text, size)) == text


@given(st.lists(st.binary().filter(lambda text: not text.startswith(b"\x1f"))), st.integers(1, 40))
def test_a_gzip_of_any_members_in_any_pieces_is_decoded(texts, size):
    body = b"".join(map(gzip.compress, texts))
    assert decoded(*cut(body, size)) == b"".join(texts)


@pytest.mark.parametrize("size", [1, 100, 10**6])
def test_much_text_from_few_bytes_comes_whole(size):
    text = b"".join(b'{"prompt": "%d", "chosen": "a", "rejected": "b"}\n' % number for number in range(30_000))
    assert decoded(*cut(gzip.compress(text), size)) == text


def test_zeros_between_and_after_members_are_padding():
    padded = gzip.compress(b"one\n") + b"\0" * 512 + gzip.compress(b"two\n") + b"\0" * 100
    assert decoded(padded) == decoded(*cut(padded, 1)) == b"one\ntwo\n"


@pytest.mark.parametrize("size", [1, 10**6])
def test_a_gzip_that_was_cut_anywhere_is_told(size):
    first = gzip.compress(bytes(range(32, 132)))
    whole = first + gzip.compress(b"second")
    for length in range(2, len(whole)):
        if length != len(first):
            assert refusal(*cut(whole[:length], size)) == "dataset_truncated", length


def test_a_gzip_that_was_damaged_is_told():
    whole = bytearray(gzip.compress(b'{"prompt": "x"}\n' * 100))
    whole[-6] ^= 1  # of the checksum
    assert refusal(bytes(whole)) == "dataset_corrupt"
    assert refusal(gzip.compress(b"x") + b"and more") == "dataset_corrupt"


def test_a_gzip_in_a_gzip_is_told():
    assert refusal(gzip.compress(gzip.compress(b"x"))) == "dataset_compressed_twice"


def test_a_body_at_the_limit_is_read_and_one_byte_more_is_refused():
    text = os.urandom(MIB // 2).hex().encode()
    for body in (text, gzip.compress(text)):
        assert decoded(body, max_bytes=MIB) == text
        assert refusal(body, max_bytes=MIB - 1) == "dataset_too_large"


def test_rows_that_share_a_long_system_prompt_are_no_bomb():
    drawn = Random(0)
    system = " ".join(f"{drawn.randrange(10**6):x}" for _ in range(400))
    turns = [{"role": "system", "content": system}, {"role": "user", "content": "{}"}]
    row = json.dumps({"prompt": turns, "chosen": "yes", "rejected": "no"}) + "\n"
    text = "".join(row.replace("{}", str(number)) for number in range(3480)).encode()
    body = gzip.compress(text)
    assert len(text) > 100 * len(body)
    assert decoded(body, max_bytes=20 * MIB) == text


def given_out(body: bytes, code: str, *, max_bytes: int) -> int:
    """Bytes before the refusal."""
    decoder = Decoder(max_bytes=max_bytes)
    with pytest.raises(DatasetRefused) as refused:
        deque(decoder.decode(body), maxlen=0)
    assert refused.value.code == code
    return decoder.decoded


def test_a_bomb_is_refused_once_it_is_seen():
    bomb = gzip.compress(bytes(100 * MIB))
    assert 100 * MIB / len(bomb) > 1000
    assert given_out(bomb, "dataset_bomb", max_bytes=50 * MIB) <= MIB
    with pytest.raises(DatasetRefused, match="500 times its size when it is decoded; serve it uncompressed"):
        decoded(bomb, max_bytes=50 * MIB)


def test_a_bomb_larger_than_a_small_limit_is_refused_within_it():
    assert given_out(gzip.compress(bytes(10 * MIB)), "dataset_too_large", max_bytes=MIB // 2) <= MIB // 2


def test_a_short_text_may_repeat_itself():
    text = b'{"prompt": "same", "chosen": "a", "rejected": "b"}\n' * 20_000
    assert len(text) > 100 * len(gzip.compress(text))
    assert decoded(gzip.compress(text)) == text


def test_other_kinds_of_deflate_are_no_gzip():
    assert decoded(zlib.compress(b"x")) == zlib.compress(b"x")
