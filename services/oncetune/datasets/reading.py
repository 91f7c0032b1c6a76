"""Rows from a file or a pipe, one by one: a JSON array, or JSON lines; told by content, with memory for one row.

How every message of the product names a row of a dataset, counted as an editor counts:

    line 3              of JSON lines, while they are read: the third line of the file, blank ones included, from 1
    row 3               the third row, from 1: of a JSON array, and of a dataset that was read (quality, training)
    dataset_inline[2]   a JSON path in an answer to a request: from 0, as the gateway's contract says

Without blank lines, row and line are one number; where there are some, a note says that rows are counted without them.
"""

import codecs
import re
from collections.abc import Iterator
from io import BufferedReader

from pydantic import JsonValue

from oncetune.contracts.preferences import PreferencePair
from oncetune.contracts.strict_json import UnfinishedJson, UnreadableJson, parse, parse_at
from oncetune.datasets.refusal import BadRow, DatasetRefused
from oncetune.datasets.rows import MAX_ROW_BYTES, TOO_LARGE, read_row
from oncetune.datasets.survey import Survey

_BLOCK_BYTES = 64 * 1024
_BLANKS = b" \t\r\n"
_NOT_BLANK = re.compile(r"[^ \t\r\n]")
_BEGINNINGS = {
    b"\x1f": "it looks compressed twice, or by other means than gzip",
    b"<": "it looks like a web page: is the link that of the raw file?",
    b"P": "it looks like Parquet or a zip archive",
    b"\xff": "it looks like UTF-16: write it as UTF-8",
    b"\xfe": "it looks like UTF-16: write it as UTF-8",
}


def read_pairs(stream: BufferedReader, survey: Survey) -> Iterator[PreferencePair]:
    """The pairs of a dataset in any known format; raises BadRow, and DatasetRefused where there are no rows at all.

    Names that are none of a row's fields are passed over and counted in `survey`.
    """
    place = ""
    for place, row in read_rows(stream, survey):
        yield read_row(place, row, survey)
    if not place:
        raise BadRow("the dataset has no rows; give at least one of {prompt, chosen, rejected}")


def read_rows(stream: BufferedReader, survey: Survey) -> Iterator[tuple[str, JsonValue]]:
    """The elements of a JSON array, or the lines of JSON lines without the blank ones, each with its place.

    A BOM is passed over. Raises BadRow, with the place, for what is no JSON that this service keeps or larger than
    1 MiB.
    """
    first, line_number = _first_byte(stream)
    if first == b"[":
        yield from _array(_Text(stream))
    elif first == b"{":
        survey.blank_lines += line_number - 1
        yield from _lines(stream, first, line_number, survey)
    elif first:
        hint = _BEGINNINGS.get(first, "it begins with neither [ nor {")
        raise DatasetRefused("unknown_format", f"The dataset is no JSON array and no JSON lines: {hint}")


def _first_byte(stream: BufferedReader) -> tuple[bytes, int]:
    """The first byte that is no blank, empty at the end, and the number of its line."""
    line_number = 1
    byte = stream.read(1)
    if byte == b"\xef" and stream.peek(2)[:2] == b"\xbb\xbf":
        byte = stream.read(3)[2:]
    while byte and byte in _BLANKS:
        line_number += byte == b"\n"
        byte = stream.read(1)
    return byte, line_number


def _lines(stream: BufferedReader, begun: bytes, number: int, survey: Survey) -> Iterator[tuple[str, JsonValue]]:
    line = begun + stream.readline(MAX_ROW_BYTES + 1)
    blank = 0
    while line:
        row = line.rstrip()
        if len(row) > MAX_ROW_BYTES:
            raise BadRow(f"line {number}: {TOO_LARGE}")
        if row:
            survey.blank_lines += blank  # those after the last row shift none
            blank = 0
            yield f"line {number}", _of_line(number, row)
        else:
            blank += 1
        line = stream.readline(MAX_ROW_BYTES + 2)  # with its CRLF
        number += 1


def _of_line(number: int, line: bytes) -> JsonValue:
    try:
        return parse(line)
    except UnreadableJson as error:
        why = str(error).replace("at line 1 column", "at column")
        remedy = "write one row on each line, or all as one array"
        raise BadRow(f"line {number} cannot be read as JSON: {why}; {remedy}") from None


def _array(text: "_Text") -> Iterator[tuple[str, JsonValue]]:
    """The elements after the opening bracket."""
    number = 1
    try:
        more = text.next_character() != "]"
        while more:
            if not (begins := text.next_character()):
                raise BadRow(f"row {number} is missing: the array has no end; was the file cut?")
            if begins != "{":
                raise BadRow(f"row {number}: not an object with prompt, chosen and rejected")
            yield f"row {number}", text.value()
            number += 1
            after = text.next_character()
            if after not in (",", "]"):
                raise BadRow(f"row {number}: a comma or ] must stand before it; was the file cut?")
            more = after == ","
            if more:
                text.skip()
        text.skip()
        if text.next_character():
            raise BadRow(f"row {number}: the array has ended before it; give one array, or one row on each line")
    except UnreadableJson as error:
        raise BadRow(f"row {number} cannot be read as JSON: {error}") from None


class _Text:
    """A window on the stream's text; `at` is the place of reading, and what is before it is forgotten."""

    def __init__(self, stream: BufferedReader) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._read = 0  # bytes
        self._broken: UnreadableJson | None = None
        self._text = ""
        self._at = 0

    def next_character(self) -> str:
        """The first that is no blank, where reading goes on; empty at the end."""
        while not (found := _NOT_BLANK.search(self._text, self._at)):
            self._at = len(self._text)
            if not self._more():
                return ""
        self._at = found.start()
        return found[0]

    def skip(self) -> None:
        """Go past the character that was found."""
        self._at += 1

    def value(self) -> JsonValue:
        """The object that begins here; raises UnreadableJson."""
        while True:
            try:
                value, end = parse_at(self._text, self._at)
                break
            except UnfinishedJson as error:
                if len(self._text) - self._at > MAX_ROW_BYTES:
                    raise UnreadableJson(f"{error}, unless it is {TOO_LARGE}") from None
                if not self._more():
                    raise
        if 4 * (end - self._at) > MAX_ROW_BYTES and len(self._text[self._at : end].encode()) > MAX_ROW_BYTES:
            raise UnreadableJson(TOO_LARGE)
        self._at = end
        return value

    def _more(self) -> bool:
        """Take in as much again as waits, at least a block; False at the end.

        Raises UnreadableJson for what is no UTF-8, once all before it was taken in.
        """
        if self._broken:
            raise self._broken
        waiting = self._text[self._at :]
        held, _ = self._decoder.getstate()
        block = self._stream.read1(max(_BLOCK_BYTES, len(waiting)))
        try:
            text = self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            self._broken = UnreadableJson(f"not UTF-8 at byte {self._read - len(held) + error.start} after the [")
            text = (held + block)[: error.start].decode()
        self._read += len(block)
        self._text, self._at = waiting + text, 0
        return bool(block) or bool(text) or self._broken is not None
