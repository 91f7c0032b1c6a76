"""Wait until the system is at rest: every run ended, every event confirmed, no attempt in work."""

import threading
import time
from pathlib import Path

import psycopg

from tests.chaos.case import Case
from tests.chaos.client_journal import read_client_journal
from tests.chaos.evidence import Places, gather, journal_rows, read_journal
from tests.chaos.oracle import Broken, verdict
from tests.deadline import eventually

_LOOK_EVERY = 10.0  # seconds: a look reads the whole journal, and hours of load make it long
_UNREST = """
SELECT (SELECT count(*) FROM ledger.run WHERE state IN ('queued', 'running'))
     + (SELECT count(*) FROM ledger.outbox WHERE confirmed_at IS NULL)
"""


def unrest(database_url: str) -> int | None:
    """How many runs and events are not at their end; None when the database does not say."""
    try:
        with psycopg.connect(database_url, connect_timeout=3) as connection:
            row = connection.execute(_UNREST).fetchone()
    except psycopg.OperationalError:
        return None
    assert row
    return int(row[0])


def settle(database_url: str, *, seconds: float) -> float:
    """Seconds until all is at rest; AssertionError after `seconds`."""
    began = time.monotonic()
    eventually(lambda: unrest(database_url) == 0, seconds=seconds, every=0.1)
    return time.monotonic() - began


class Judge:
    """Judges a system whenever it is at rest, each time against everything that it saw before."""

    def __init__(self, database_url: str, places: Places, client_journal: Path) -> None:
        self._database_url = database_url
        self._places = places
        self._client_journal = client_journal
        self._earlier: dict[object, str] = {}
        self._next_look = 0.0

    def look_if_it_answers(self) -> None:
        """Remember the journal as it is now and then, unless the database is away."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_EVERY
        try:
            self._remember(read_journal(self._database_url))
        except psycopg.OperationalError:
            return

    def judge(self, *, seconds: float = 10) -> list[Broken]:
        """What is broken, and stays so for `seconds`: what killed attempts left behind is swept, not prevented."""
        until = time.monotonic() + seconds
        while (broken := self._judge()) and time.monotonic() < until:
            threading.Event().wait(0.2)
        return broken

    def _judge(self) -> list[Broken]:
        evidence = gather(self._database_url, self._places)
        broken = verdict(Case(read_client_journal(self._client_journal), evidence, self._earlier))
        self._remember(journal_rows(evidence))
        return broken

    def _remember(self, rows: dict[object, str]) -> None:
        """What a row was when it was first seen is what it has to stay."""
        self._earlier = rows | self._earlier
