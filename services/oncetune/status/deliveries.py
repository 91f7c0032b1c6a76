"""What a sidecar posts: one event, a bulk of entries, or a dead letter. Whatever the bytes are, nothing here raises.

A bulk is read in two steps, tolerantly as a whole and strictly entry by entry, so that an entry which Postgres or a
double cannot hold takes no neighbour with it.
"""

import base64
import binascii
import json
import math
import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import JsonValue

from oncetune.contracts.envelope import Envelope, UnreadableEvent, open_envelope, read_envelope
from oncetune.contracts.strict_json import MAX_DEPTH, UnreadableJson, parse
from oncetune.status.journal import NO_EVENT


@dataclass(frozen=True)
class Unreadable:
    """A delivery that is no event of a run; ids as far as it named them."""

    reason: str  # safe to show
    event_id: UUID = NO_EVENT
    run_id: UUID | None = None


@dataclass(frozen=True)
class Entry:
    """One member of a bulk; the sidecar wants an answer for each `entry_id`."""

    entry_id: str
    event: Envelope | Unreadable


def read_one(body: bytes) -> Envelope | Unreadable:
    """The event of a single delivery."""
    try:
        return read_envelope(body)
    except UnreadableEvent as reason:
        return _unreadable(_tolerant(body), str(reason))


def read_bulk(body: bytes) -> list[Entry]:
    """The entries of a bulk delivery; [] when the bytes are no bulk."""
    bulk = _tolerant(body)
    members = bulk.get("entries") if isinstance(bulk, dict) else None
    entries: list[Entry] = []
    for member in members if isinstance(members, list) else []:
        entry_id = member.get("entryId") if isinstance(member, dict) else None
        if isinstance(member, dict) and isinstance(entry_id, str):
            entries.append(Entry(entry_id, _read_entry(member.get("event"))))
    return entries


def read_dead_letter(body: bytes) -> bytes:
    """The bytes that failed. The subscription asks for the raw payload, which a sidecar wraps as `data_base64`."""
    wrapper = _tolerant(body)
    encoded = wrapper.get("data_base64") if isinstance(wrapper, dict) else None
    if not isinstance(encoded, str):
        return body
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return body


def _read_entry(event: Any) -> Envelope | Unreadable:
    try:
        return open_envelope(parse(json.dumps(event).encode()))
    except (UnreadableEvent, UnreadableJson) as reason:
        return _unreadable(event, str(reason))


def _unreadable(document: Any, reason: str) -> Unreadable:
    named = document if isinstance(document, dict) else {}
    return Unreadable(reason, _uuid(named.get("id")) or NO_EVENT, _uuid(named.get("subject")))


def _uuid(word: Any) -> UUID | None:
    try:
        return UUID(word) if isinstance(word, str) else None
    except ValueError:
        return None


def _tolerant(body: bytes) -> JsonValue:
    """Parse, with NaN (which the strict parser refuses) for whatever is wrong inside; None for what is no JSON."""
    text = body.decode("utf-8", "surrogateescape")  # becomes a lone surrogate, refused later
    try:
        return _loads(text)
    except RecursionError:
        pass
    except ValueError:
        return None
    try:
        return _loads(_prune(text))
    except ValueError:
        return None


def _loads(text: str) -> JsonValue:
    document: JsonValue = json.loads(text, object_pairs_hook=_members, parse_int=_integer)
    return document


def _members(pairs: list[tuple[str, JsonValue]]) -> JsonValue:
    members = dict(pairs)
    return members if len(members) == len(pairs) else math.nan  # a key that stands twice


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= 20 else math.nan


_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_TOO_DEEP = MAX_DEPTH + 8  # an event of a bulk begins at depth 4


def _prune(text: str) -> str:
    """The same JSON with NaN for everything nested too deep, found without recursion."""
    kept: list[str] = []
    depth = start = 0
    for token in _TOKEN.finditer(text):
        if token[0] in ("[", "{"):
            depth += 1
            if depth == _TOO_DEEP:
                kept.append(text[start : token.start()])
        elif token[0] in ("]", "}"):
            if depth == _TOO_DEEP:
                kept.append("NaN")
                start = token.end()
            depth -= 1
    return "".join(kept) + text[start:]
