"""Bring a database to this version's schema, or say how far it is from it."""

import threading
import time
from datetime import timedelta
from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import OperationalError

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

    A busy table makes a migration give up after two seconds (`lock_timeout`) instead of blocking the services;
    it is tried again `tries` times. Raises sqlalchemy's OperationalError when the database stays away.
    """
    engine = connect(database_url, role=None, pool_size=1, statement_timeout=timedelta(minutes=10))
    config = _config()
    try:
        for remaining in reversed(range(tries)):
            try:
                with _ALEMBIC, engine.connect() as connection:
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
