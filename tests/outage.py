"""The database goes away for a while: nobody gets in, whoever was in is thrown out, the server itself runs on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import make_url


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
