"""JSON as Postgres can keep it and Python can trust it: the one parser for everything that comes from outside."""

import json
import math
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

from pydantic import JsonValue

MAX_DEPTH = 64
_INTEGERS = range(-(2**63), 2**63)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class UnreadableJson(ValueError):
    """These bytes are not JSON that this service keeps; the message says why and is safe to show."""


class UnfinishedJson(UnreadableJson):
    """No JSON as far as the text goes: it is malformed, or its end is missing."""


def _once(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise UnreadableJson(f"the key {name[:80]!r} stands twice in one object")
            seen.add(name)
    return members


def _integer(digits: str) -> int:
    if len(digits) > 20 or int(digits) not in _INTEGERS:
        raise UnreadableJson(f"the integer {digits[:24]} is outside -2^63 … 2^63-1")
    return int(digits)


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise UnreadableJson(f"the number {digits[:24]} is too large for a double")
    return number


def _constant(word: str) -> float:
    raise UnreadableJson(f"{word} is not JSON")


def _values(document: JsonValue) -> Iterator[tuple[JsonValue, int]]:
    """Every value and key of the document with its depth: a key's is that of its values.

    Without recursion, and no deeper than it is read: a list of all that waits would be larger than the document.
    """
    open_: list[Iterator[JsonValue]] = [iter((document,))]
    while open_:
        for value in open_[-1]:
            yield value, len(open_)
            if isinstance(value, dict):
                open_.append(chain(value, value.values()))
                break
            if isinstance(value, list):
                open_.append(iter(value))
                break
        else:
            open_.pop()


_STRICTLY: dict[str, Any] = {
    "object_pairs_hook": _once,
    "parse_int": _integer,
    "parse_float": _number,
    "parse_constant": _constant,
}
_DECODER = json.JSONDecoder(**_STRICTLY)


def _kept(document: JsonValue) -> JsonValue:
    for value, depth in _values(document):
        if depth > MAX_DEPTH:
            raise UnreadableJson(f"nested deeper than {MAX_DEPTH}")
        if isinstance(value, str):
            if "\x00" in value:
                raise UnreadableJson("a string holds U+0000")
            if not value.isascii() and _LONE_SURROGATE.search(value):
                raise UnreadableJson("a string holds a lone surrogate")
    return document


def parse(body: bytes) -> JsonValue:
    """Parse UTF-8 JSON; raises UnreadableJson for anything that Postgres JSONB or a double cannot hold.

    Refused beyond RFC 8259: keys that stand twice, NaN and infinities, integers beyond 2^63, numbers beyond a
    double, nesting beyond MAX_DEPTH, lone surrogates, U+0000.
    """
    try:
        return _kept(json.loads(body.decode("utf-8"), **_STRICTLY))
    except UnicodeDecodeError as error:
        raise UnreadableJson(f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise UnreadableJson(f"{error.msg} at line {error.lineno} column {error.colno}") from error
    except RecursionError as error:
        raise UnreadableJson(f"nested deeper than {MAX_DEPTH}") from error


def parse_at(text: str, start: int) -> tuple[JsonValue, int]:
    """The object, array or string that begins at `start`, and the index after it; as strict as `parse`.

    Raises UnfinishedJson where it is no JSON, or not all of it is there, and UnreadableJson for what more text would
    not mend.
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
        return _kept(value), end
    except json.JSONDecodeError as error:
        raise UnfinishedJson(f"{error.msg} at character {error.pos - start + 1}") from error
    except RecursionError as error:
        raise UnreadableJson(f"nested deeper than {MAX_DEPTH}") from error
