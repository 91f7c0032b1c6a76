"""A file of rows: told by its content, read one row at a time, and named where it cannot be read."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncetune.contracts.names import unknown_name
from oncetune.contracts.recipe import Hyperparameters
from oncetune.contracts.strict_json import UnreadableJson, parse
from oncetune.datasets.reading import read_rows
from oncetune.datasets.refusal import BadRow, DatasetRefused
from oncetune.datasets.rows import MAX_ROW_BYTES, validate_rows
from oncetune.datasets.survey import Survey
from tests.contracts.json_values import JSON
from tests.datasets.given import TEXT, array, jsonl, read
from tests.stack import program_environment

OTHER = {"prompt": "Wie heißt du? 😀", "chosen": "Ich\nheiße\u2028Ann.", "rejected": '"'}
BOTH = [TEXT, OTHER]
NO_OBJECT = "not an object with prompt, chosen and rejected"
ONE_EACH = "; write one row on each line, or all as one array"
TOO_LARGE = "larger than 1048576 bytes; shorten it or leave it out"


class Dripping(io.RawIOBase):
    """A stream that gives a few bytes at a time, as a slow pipe does."""

    def __init__(self, content: bytes, pace: int) -> None:
        self._content, self._pace = io.BytesIO(content), pace

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        piece = self._content.read(min(len(buffer), self._pace))
        buffer[: len(piece)] = piece
        return len(piece)


def rows_of(content: bytes, pace: int = 2**20):
    stream = io.BufferedReader(Dripping(content, pace), buffer_size=max(pace, 4))
    return [row for _, row in read_rows(stream, Survey())]


@pytest.mark.parametrize(
    "content",
    [
        jsonl(BOTH),
        jsonl(BOTH).rstrip(),
        jsonl(BOTH).replace(b"\n", b"\r\n"),
        b"\n  \n" + jsonl(BOTH).replace(b"\n", b"\n\n \t\n"),
        b"\xef\xbb\xbf" + jsonl(BOTH),
        array(BOTH),
        b"\xef\xbb\xbf\r\n " + array(BOTH) + b" \n",
        json.dumps(BOTH, separators=(",", ":")).encode(),
    ],
    ids=["lines", "no newline at the end", "CRLF", "blank lines", "BOM", "array", "BOM of an array", "ASCII"],
)
def test_an_array_and_lines_are_told_apart_by_content_and_hold_the_same_rows(content):
    assert rows_of(content) == BOTH
    assert [pair.model_dump(mode="json") for pair in read(content)] == BOTH


@settings(max_examples=150)
@given(rows=st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=3), max_size=6), pace=st.integers(1, 9))
def test_however_slowly_the_bytes_come_the_rows_are_those_of_the_strict_parser(rows, pace):
    for content in (array(rows), jsonl(rows)):
        try:
            wanted = parse(array(rows))
        except UnreadableJson:
            with pytest.raises(BadRow):
                rows_of(content, pace)
        else:
            assert json.dumps(rows_of(content, pace)) == json.dumps(wanted)


BAD_LINES = [
    (b"{broken", "Expecting property name enclosed in double quotes at column 2" + ONE_EACH),
    (b'{"a": 1} {}', "Extra data at column 10" + ONE_EACH),
    (b"{", "Expecting property name enclosed in double quotes at column 2" + ONE_EACH),
    (b'{"a": NaN}', "NaN is not JSON" + ONE_EACH),
    (b'{"a": 9223372036854775808}', "the integer 9223372036854775808 is outside -2^63 … 2^63-1" + ONE_EACH),
    (b'{"a": "\\ud800"}', "a string holds a lone surrogate" + ONE_EACH),
    (b'{"a": "\\u0000"}', "a string holds U+0000" + ONE_EACH),
    (b'{"a": 1, "a": 2}', "the key 'a' stands twice in one object" + ONE_EACH),
    (b'{"a": "\xff"}', "not UTF-8 at byte 7" + ONE_EACH),
    (b'{"a":' * 100 + b"1" + b"}" * 100, "nested deeper than 64" + ONE_EACH),
    (b'{"a":' * 100_000, "nested deeper than 64" + ONE_EACH),
]


@pytest.mark.parametrize(("line", "why"), BAD_LINES, ids=[why[:30] for _, why in BAD_LINES])
def test_a_line_that_cannot_be_read_is_named_by_its_line(line, why):
    with pytest.raises(BadRow) as refusal:
        rows_of(jsonl([TEXT]) + b"\n" + line + b"\n" + jsonl([TEXT]))
    assert str(refusal.value) == f"line 3 cannot be read as JSON: {why}"


BAD_ELEMENTS = [
    (b"{broken}]", " cannot be read as JSON: Expecting property name enclosed in double quotes at character 2"),
    (b'{"a": 1', " cannot be read as JSON: Expecting ',' delimiter at character 8"),
    (b'{"a": NaN}]', " cannot be read as JSON: NaN is not JSON"),
    (b'{"a": 1e999}]', " cannot be read as JSON: the number 1e999 is too large for a double"),
    (b'{"a": 1, "a": 2}]', " cannot be read as JSON: the key 'a' stands twice in one object"),
    (b'{"a": "\\udfff"}]', " cannot be read as JSON: a string holds a lone surrogate"),
    (b'{"a": "\\u0000"}]', " cannot be read as JSON: a string holds U+0000"),
    (b'{"a": "\xff"}]', " cannot be read as JSON: not UTF-8 at byte 76 after the ["),
    (b'{"a": "\xc3', " cannot be read as JSON: not UTF-8 at byte 76 after the ["),
    (b'{"a":' * 100_000, " cannot be read as JSON: nested deeper than 64"),
    (b"7]", f": {NO_OBJECT}"),
    (b'"text"]', f": {NO_OBJECT}"),
    (b"[{}]]", f": {NO_OBJECT}"),
    (b"]", f": {NO_OBJECT}"),
    (b"", " is missing: the array has no end; was the file cut?"),
    (b" \n", " is missing: the array has no end; was the file cut?"),
]


@pytest.mark.parametrize("pace", [3, 2**20])
@pytest.mark.parametrize(("rest", "why"), BAD_ELEMENTS, ids=[repr(rest[:16]) for rest, _ in BAD_ELEMENTS])
def test_an_element_that_cannot_be_read_is_named_by_its_row(rest, why, pace):
    begun = b"[" + json.dumps(TEXT).encode() + b","
    assert len(begun) - 1 == 69
    with pytest.raises(BadRow) as refusal:
        rows_of(begun + rest, pace)
    assert str(refusal.value) == f"row 2{why}"


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        (b"", "a comma or ] must stand before it; was the file cut?"),
        (b" {}]", "a comma or ] must stand before it; was the file cut?"),
        (b"] []", "the array has ended before it; give one array, or one row on each line"),
        (b"]}", "the array has ended before it; give one array, or one row on each line"),
    ],
)
def test_an_array_that_is_cut_or_goes_on_after_its_end_is_refused(rest, why):
    with pytest.raises(BadRow) as refusal:
        rows_of(b"[" + json.dumps(TEXT).encode() + rest)
    assert str(refusal.value) == f"row 2: {why}"


@pytest.mark.parametrize("content", [b"", b"\n \n", b"[]", b" [ ] ", b"\xef\xbb\xbf"])
def test_a_file_without_rows_is_refused(content):
    assert rows_of(content) == []
    with pytest.raises(BadRow, match=r"^the dataset has no rows; give at least one"):
        read(content)


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"<!DOCTYPE html>", "web page"),
        (b"PAR1\x00", "Parquet"),
        (b"\x1f\x8b\x08", "compressed"),
        ("[]".encode("utf-16"), "UTF-16"),
        (b"prompt,chosen,rejected\n", "neither"),
        (b'"text"', "neither"),
    ],
)
def test_what_is_neither_array_nor_lines_is_refused_with_what_it_looks_like(content, hint):
    with pytest.raises(DatasetRefused, match=hint) as refusal:
        read(content)
    assert refusal.value.code == "unknown_format"


@pytest.mark.parametrize("letter", ["a", "ü", "😀"])
def test_a_row_may_have_1_mib_and_not_a_byte_more_as_a_line_and_as_an_element(letter):
    room = MAX_ROW_BYTES - len(json.dumps(TEXT | {"prompt": ""}))
    whole = letter * (room // len(letter.encode())) + "a" * (room % len(letter.encode()))
    row, more = TEXT | {"prompt": whole}, TEXT | {"prompt": whole + "a"}
    exactly, over = (json.dumps(one, ensure_ascii=False).encode() for one in (row, more))
    assert len(exactly) == MAX_ROW_BYTES
    assert rows_of(exactly) == rows_of(exactly + b"\r\n") == rows_of(b"[" + exactly + b"]") == [row]
    assert rows_of(b"{}\r\n" + exactly + b"\r\n" + exactly) == [{}, row, row]
    for content, named in (
        (over, "line 1: "),
        (over + b"\n", "line 1: "),
        (b"{}\n" + over, "line 2: "),
        (b"{}\n" + over + b"\n", "line 2: "),
        (b"[" + over + b"]", "row 1 cannot be read as JSON: "),
    ):
        with pytest.raises(BadRow) as refusal:
            rows_of(content)
        assert str(refusal.value) == named + TOO_LARGE


def test_no_error_holds_text_of_the_dataset():
    secret = "hunter2"
    for content in (
        jsonl([TEXT | {"chosen": [{"role": secret, "content": "x"}]}]),
        b'{"prompt": "' + secret.encode() + b'", broken',
        b'[{"prompt": "' + secret.encode() + b'", broken}]',
        b'["' + secret.encode() + b'"]',
    ):
        with pytest.raises(DatasetRefused) as refusal:
            read(content)
        told: BaseException | None = refusal.value
        while told is not None:
            assert secret not in str(told)
            told = told.__cause__


@pytest.mark.parametrize(
    "name", ["\x1b]0;owned\x07", "a\nb", "\u202eeman", "n" * 900], ids=["terminal", "newline", "direction", "long"]
)
def test_names_that_strangers_chose_are_cut_and_move_no_cursor(name):
    asked = {"messages": [{"role": "user", "content": "a"}], name: 1}
    turns = [{"role": "assistant", "content": "b"}]
    openai = {"input": asked, "preferred_output": turns, "non_preferred_output": turns}
    with pytest.raises(DatasetRefused) as unknown:
        list(validate_rows([TEXT | {name: 1}]))
    with pytest.raises(DatasetRefused) as of_input:
        read(jsonl([openai]))
    with pytest.raises(DatasetRefused) as meant:
        read(jsonl([{"pr\x1bmpt": "a", "chosen": "b", "rejected": "c"}]))
    read(jsonl([TEXT | {name: 1}]), survey := Survey())
    beginning = ascii(name[:9])[1:-1]
    for told in (str(unknown.value), str(of_input.value), survey.notes()[0], unknown_name([name], Hyperparameters)):
        assert beginning in told
        assert told.isprintable()
        assert "n" * 81 not in told
    assert r"if pr\x1bmpt is meant" in str(meant.value)


@pytest.mark.parametrize("as_array", [False, True], ids=["lines", "array"])
def test_a_file_of_30_mib_is_packed_and_unpacked_with_a_tenth_of_its_size_in_memory(tmp_path: Path, as_array: bool):
    source, rows = tmp_path / "rows", 30_000
    with source.open("w") as file:
        for number in range(rows):
            row = json.dumps({"prompt": f"{number} " + "Why? " * 60, "chosen": "Because. " * 60, "rejected": "x" * 200})
            file.write(f"{',' if number else '['}{row}\n" if as_array else f"{row}\n")
        file.write("]" if as_array else "")
    assert source.stat().st_size > 30 * 2**20
    command = [sys.executable, "-m", "tests.datasets.memory_of", str(source), str(tmp_path)]
    environment = program_environment(PYTHONPATH=os.pathsep.join(sys.path))
    told = subprocess.run(command, capture_output=True, check=True, env=environment, timeout=120)
    found = json.loads(told.stdout)
    assert found["rows"] == rows
    assert found["mib"] < 5
    assert (tmp_path / "again").read_bytes() == (tmp_path / "canonical").read_bytes()
