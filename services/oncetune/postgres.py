"""Postgres and nothing of ours: connect as a role, one transaction per unit of work, statements from .sql files."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Any

from psycopg.errors import ReadOnlySqlTransaction
from sqlalchemy import Engine, TextClause, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool
from sqlmodel import Session

# Below a third of the default lease of 30 s: a cut line is noticed while the lease can still be saved, and the server
# ends the session of a client that vanished, with its locks, as soon. On a Unix socket they mean nothing.
_KEEPALIVE = {"keepalives_idle": 3, "keepalives_interval": 2, "keepalives_count": 2}
_UNANSWERED = {"tcp_user_timeout": 8000}  # milliseconds, to both ends
_OF_CLIENT = {"connect_timeout": 5} | _KEEPALIVE | _UNANSWERED
_OF_SERVER = {f"tcp_{name}": value for name, value in _KEEPALIVE.items()} | _UNANSWERED


def sqlalchemy_url(database_url: str) -> str:
    """`postgresql://…` as its users write it, with the driver's name that SQLAlchemy wants. Raises ArgumentError."""
    try:
        url = make_url(database_url)
    except ValueError as error:
        raise ArgumentError("the port of this URL is no number") from error
    if not url.drivername.startswith("postgres"):
        raise ArgumentError("this URL is of another database than Postgres")
    return url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def connect(
    database_url: str,
    *,
    role: str | None,
    pool_size: int,
    statement_timeout: timedelta = timedelta(seconds=15),
    lock_timeout: timedelta = timedelta(0),  # 0: a lock is waited for as long as a statement may take
) -> Engine:
    """A pool of at most `pool_size` connections that act as `role`; nothing is opened yet. 0 keeps none open.

    `database_url` may log in as any member of `role`. Times are UTC. A waiting caller gets sqlalchemy's
    TimeoutError after 5 s. `role=None` keeps the login's own rights (migrations, tests).
    """
    options = _session_options(statement_timeout=statement_timeout, lock_timeout=lock_timeout)
    pool: dict[str, Any] = (
        {"pool_size": pool_size, "max_overflow": 0, "pool_timeout": 5, "pool_pre_ping": True, "pool_recycle": 1800}
        if pool_size
        else {"poolclass": NullPool}
    )
    engine = create_engine(
        sqlalchemy_url(database_url),
        hide_parameters=True,  # an error's text goes to the log, and a parameter may hold rows of a dataset
        **pool,
        connect_args=_OF_CLIENT
        | {"options": options, "application_name": f"{role or 'oncetune'}", "autocommit": False},
    )
    if role is not None:

        @event.listens_for(engine, "connect")
        def _become(connection: DBAPIConnection, _record: object) -> None:
            connection.cursor().execute(f'SET SESSION ROLE "{role}"')
            connection.commit()

    event.listen(engine, "handle_error", _read_only_is_away, retval=True)
    return engine


def _session_options(**limits: timedelta) -> str:
    """What libpq sets for the session before its first statement."""
    session = {"timezone": "UTC", "idle_in_transaction_session_timeout": 30000, **_OF_SERVER}
    session |= {name: int(limit.total_seconds() * 1000) for name, limit in limits.items()}
    return " ".join(f"-c {name}={value}" for name, value in session.items())


def _read_only_is_away(context: ExceptionContext) -> BaseException | None:
    """A server that takes no writes (failover, a full disk) is as good as away; its connections are given up."""
    if not isinstance(context.original_exception, ReadOnlySqlTransaction):
        return None
    context.is_disconnect = True
    return OperationalError(context.statement, None, context.original_exception, hide_parameters=True)


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """One unit of work: commits on a clean exit, rolls back on any exception."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


# What a loop or a handler waits out: the database is away, restarts, or has no connection to give. Anything else
# that SQLAlchemy raises is a bug or a broken row, and waiting would hide it.
DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)


@cache
def statement(room: str, name: str) -> TextClause:
    """The statement in `<room>/sql/<name>.sql`; parameters are written `:name`."""
    return text((files("oncetune") / room / "sql" / f"{name}.sql").read_text(encoding="utf-8"))


def printable(database_url: str) -> str:
    """The URL without its password, for logs and errors."""
    return make_url(database_url).render_as_string(hide_password=True)
