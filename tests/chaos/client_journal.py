"""What the client sent and what it was told: an append-only file that outlives every crash, its own included."""

import json
import os
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self
from uuid import uuid4


class Answer(StrEnum):
    """What the client knows of a request: of an unknown one, zero or one run may exist."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"  # a cut line, no answer in time, or one that says neither


@dataclass(frozen=True)
class Exchange:
    """One request and its answer. Each `key` goes with a `kb_id`, or a `parent`, of its own, by which its run is found.

    `end`: what its training shall come to, a word of tests/chaos/stand_in.py. `parent`: the run of the same `kb_id`
    that it wants once more.
    """

    id: str
    key: str
    kb_id: str
    end: str = "finish"
    by_url: bool = False
    parent: str | None = None
    status: int | None = None  # of HTTP; None while no answer came
    run_id: str | None = None
    retry_after: str | None = None

    @property
    def answer(self) -> Answer:
        if self.status == 200:
            return Answer.ACCEPTED
        return Answer.REFUSED if self.status and 400 <= self.status < 500 else Answer.UNKNOWN

    @property
    def in_contract(self) -> bool:
        """What the client asks for is right: it may be told to come again, and nothing else is wrong with it."""
        return self.status in (None, 200) or (self.status in (409, 429, 503) and bool(self.retry_after))


@dataclass(frozen=True)
class Asked:
    """All that was sent under one key and came back."""

    key: str
    kb_id: str
    end: str
    exchanges: tuple[Exchange, ...]
    by_url: bool = False
    parent: str | None = None

    @property
    def answer(self) -> Answer:
        """Accepted once is accepted; refused only if nothing about it is unknown."""
        answers = {one.answer for one in self.exchanges}
        return next(answer for answer in (Answer.ACCEPTED, Answer.UNKNOWN, Answer.REFUSED) if answer in answers)

    @property
    def run_ids(self) -> frozenset[str]:
        """The runs that the client was told of: more than one is a broken promise."""
        return frozenset(one.run_id for one in self.exchanges if one.run_id and one.answer is Answer.ACCEPTED)


class ClientJournal:
    """Written before a request leaves and after its answer came, each line on the disk before the client goes on."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: object, _traceback: TracebackType | None) -> None:
        self._file.close()

    def sends(self, key: str, kb_id: str, *, end: str, by_url: bool = False, parent: str | None = None) -> Exchange:
        """To be called before the request leaves."""
        exchange = Exchange(uuid4().hex, key, kb_id, end, by_url, parent)
        self._write(exchange)
        return exchange

    def was_told(
        self, exchange: Exchange, status: int, run_id: str | None, *, retry_after: str | None = None
    ) -> Exchange:
        """To be called as soon as an answer is there whole."""
        told = replace(exchange, status=status, run_id=run_id, retry_after=retry_after)
        self._write(told)
        return told

    def _write(self, exchange: Exchange) -> None:
        with self._lock:
            self._file.write(json.dumps(asdict(exchange)).encode() + b"\n")
            os.fsync(self._file.fileno())


def read_client_journal(path: Path) -> list[Asked]:
    """What was asked, by key, in the order of asking. A last line that was cut is no line."""
    whole = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    exchanges = {one.id: one for one in (Exchange(**json.loads(line)) for line in whole)}  # the newest line of each
    by_key: dict[str, list[Exchange]] = defaultdict(list)
    for exchange in exchanges.values():
        by_key[exchange.key].append(exchange)
    return [
        Asked(key, sent[0].kb_id, sent[0].end, tuple(sent), sent[0].by_url, sent[0].parent)
        for key, sent in by_key.items()
    ]
