"""Bring a database to this version's schema, or say how far it is from it."""

import threading
import time
from datetime import timedelta
from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from oncetune.logs import log
from oncetune.postgres import connect

_ALEMBIC = threading.Lock()  # its context is one for the whole process


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("oncetune") / "migrations"))
    return config


def head() -> str:
    """The revision that this version of the package needs."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def revisions() -> set[str]:
    """Every revision that this version of the package knows; a newer one's database has others."""
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def upgrade(database_url: str, *, tries: int = 5) -> None:
    """Apply every migration that is missing; any number of callers may do so at once, they take turns.

    A newer version's schema is left as it is: migrations only widen, and a rollback comes here, too.
    A busy table makes a migration give up after two seconds (`lock_timeout`) instead of blocking the services;
    it is tried again `tries` times. Raises sqlalchemy's OperationalError when the database stays away.
    """
    engine = connect(database_url, role=None, pool_size=1, statement_timeout=timedelta(minutes=10))
    config = _config()
    try:
        for remaining in reversed(range(tries)):
            try:
                with _ALEMBIC, engine.connect() as connection:
                    found = MigrationContext.configure(connection).get_current_revision()
                    if found is not None and found not in revisions():
                        log.info("migration.newer", revision=found, needed=head())
                        return
                    connection.rollback()
                    config.attributes["connection"] = connection
                    command.upgrade(config, "head")
                    return
            except OperationalError as error:
                if not remaining:
                    raise
                log.warning("migration.retry", reason=type(error.orig).__name__, remaining=remaining)
                time.sleep(1)
    finally:
        engine.dispose()


def current(database_url: str) -> str | None:
    """The revision that the database has; None before the first migration."""
    engine = connect(database_url, role=None, pool_size=1)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


class NoSchemaInTime(Exception):
    """The database has not had this version's schema before the deadline; the message says what was missing."""


def wait_for_schema(database_url: str, *, deadline: timedelta, every: timedelta = timedelta(seconds=1)) -> str:
    """The database's revision, as soon as it is the one that this version needs or a newer version's.

    A newer one will do, since migrations only widen what the version before needs. Each new reason to go on waiting is
    one line of the log. Raises NoSchemaInTime, or sqlalchemy's ArgumentError at once when `database_url` is no URL.
    """
    end = time.monotonic() + deadline.total_seconds()
    known, needed = revisions(), head()
    told = None
    while True:
        found, missing = _look(database_url, needed)
        if found is not None and (found == needed or found not in known):
            return found
        if missing != told:
            log.info("migration.waits", reason=missing)
            told = missing
        if time.monotonic() >= end:
            raise NoSchemaInTime(missing)
        time.sleep(every.total_seconds())


def _look(database_url: str, needed: str) -> tuple[str | None, str]:
    """The revision that is there, and in words what it lacks."""
    try:
        found = current(database_url)
    except ArgumentError:
        raise
    except OperationalError as error:
        return None, f"the database does not answer: {_in_words(error)}"
    except SQLAlchemyError as error:
        return None, f"the database does not tell its schema: {_in_words(error)}"
    if found is None:
        return None, f"the database has no schema of oncetune yet, {needed} is needed"
    return found, f"the schema is at {found}, {needed} is needed"


def _in_words(error: SQLAlchemyError) -> str:
    return " ".join(str(getattr(error, "orig", error)).split())[:300]
