"""The database goes away for a while: nobody gets in, whoever was in is thrown out, the server itself runs on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event, make_url


@contextmanager
def database_away(administer: Callable[[str], None], database_url: str) -> Iterator[None]:
    """While inside. The postmaster does not restart, so its start time tells nobody of the outage."""
    name = make_url(database_url).database
    administer(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    try:
        administer(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        yield
    finally:
        administer(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


@contextmanager
def counted_connects() -> Iterator[Callable[[], int]]:
    """How many connections anybody in this process has asked for since the block began."""
    asked: list[None] = []

    def note(*_: Any) -> None:
        asked.append(None)

    event.listen(Engine, "do_connect", note)
    try:
        yield lambda: len(asked)
    finally:
        event.remove(Engine, "do_connect", note)
