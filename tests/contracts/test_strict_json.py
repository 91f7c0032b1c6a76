"""One parser for everything from outside: what it refuses, with which sentence, and that it refuses nothing else."""

import json

import pytest
from hypothesis import given, settings

from oncetune.contracts.strict_json import MAX_DEPTH, UnreadableJson, parse
from tests.contracts.json_values import JSON


def _nested(depth):
    return b"[" * depth + b"]" * depth


REFUSED = {
    b"NaN": "NaN is not JSON",
    b'{"loss": Infinity}': "Infinity is not JSON",
    b"[-Infinity]": "-Infinity is not JSON",
    b"1e999": "the number 1e999 is too large for a double",
    b"-1e400000": "the number -1e400000 is too large for a double",
    b"9223372036854775808": "the integer 9223372036854775808 is outside -2^63 … 2^63-1",
    b"-9223372036854775809": "the integer -9223372036854775809 is outside -2^63 … 2^63-1",
    b"1" * 5000: f"the integer {'1' * 24} is outside -2^63 … 2^63-1",
    _nested(MAX_DEPTH + 1): "nested deeper than 64",
    _nested(100_000): "nested deeper than 64",
    b"[" * 100_000: "nested deeper than 64",
    b'{"a":' * 100_000: "nested deeper than 64",
    b'{"a": 1, "b": 2, "a": 3}': "the key 'a' stands twice in one object",
    b'[{"a": {"b": 1, "b": 1}}]': "the key 'b' stands twice in one object",
    b'"\\ud800"': "a string holds a lone surrogate",
    b'{"\\udfff": 1}': "a string holds a lone surrogate",
    b'"a\\u0000b"': "a string holds U+0000",
    b'{"\\u0000": 1}': "a string holds U+0000",
    b"\xff": "not UTF-8 at byte 0",
    b'"\xed\xa0\x80"': "not UTF-8 at byte 1",
    b'"\xc3"': "not UTF-8 at byte 1",
    b"": "Expecting value at line 1 column 1",
    b'{"a" 1}': "Expecting ':' delimiter at line 1 column 6",
    b"[1] 2": "Extra data at line 1 column 5",
    b'"a\nb"': "Invalid control character at at line 1 column 3",
    b"\xef\xbb\xbf{}": "Unexpected UTF-8 BOM (decode using utf-8-sig) at line 1 column 1",
}


@pytest.mark.parametrize(("body", "sentence"), REFUSED.items(), ids=lambda value: repr(value[:20]))
def test_what_postgres_or_a_double_cannot_hold_is_refused_with_a_sentence(body, sentence):
    with pytest.raises(UnreadableJson) as refusal:
        parse(body)
    assert str(refusal.value) == sentence


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"-0", 0),
        (b"1.7976931348623157e308", 1.7976931348623157e308),
        (b"1e-999", 0.0),
        (b'"\\ud83d\\ude00"', "😀"),
        ('"😀"'.encode(), "😀"),
        (b'"\\\\u0000"', "\\u0000"),
        (b'[{"a": 1}, {"a": 1}]', [{"a": 1}, {"a": 1}]),
        (b" {} ", {}),
    ],
)
def test_what_is_only_at_the_edge_is_read(body, value):
    assert parse(body) == value


def test_the_greatest_depth_is_read_in_arrays_and_in_objects():
    parse(_nested(MAX_DEPTH))
    parse(b'{"a":' * (MAX_DEPTH - 1) + b"1" + b"}" * (MAX_DEPTH - 1))


@settings(max_examples=300)
@given(value=JSON)
def test_all_that_python_writes_from_plain_values_is_read_back_the_same(value):
    for ascii_only in (True, False):
        read = parse(json.dumps(value, ensure_ascii=ascii_only).encode())
        assert json.dumps(read) == json.dumps(value), "== would take True for 1 and 1.0 for 1"
