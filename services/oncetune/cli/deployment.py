"""`oncetune serve` and `oncetune migrate`: what a deployment runs."""

from datetime import timedelta

from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from oncetune.cli.exits import Exit, Failure
from oncetune.logs import configure_logs, log
from oncetune.postgres import printable


def serve_until_stopped(services: tuple[str, ...], host: str, port: int) -> None:
    """Serve these services; returns after a clean stop."""
    from oncetune.serve import BadService, serve  # every service's imports

    try:
        serve(services, host=host, port=port)
    except BadService as error:
        raise Failure(f"{error}.", "Settings come from the environment.", Exit.USAGE) from error
    except SystemExit as end:  # uvicorn's way to say so
        if end.code:
            raise Failure(f"The server could not be started on {host}:{port}; the log says why.") from end


def migrate_once(database_url: str) -> None:
    """Upgrade the schema and say which version the database has."""
    from oncetune.migrations.upgrade import current, upgrade  # alembic

    configure_logs("migrate")
    try:
        upgrade(database_url)
        log.info("migration.done", outcome="ok", revision=current(database_url), database=printable(database_url))
    except ArgumentError as error:
        raise Failure("DATABASE_URL is not a Postgres URL.", code=Exit.USAGE) from error
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", error)).split())[:300]
        raise Failure(f"The migration of {printable(database_url)} failed: {reason}") from error


def wait_until_migrated(database_url: str, *, timeout: float) -> None:
    """Return once the database has this version's schema; `timeout` in seconds. Changes nothing."""
    from oncetune.migrations.upgrade import NoSchemaInTime, wait_for_schema  # alembic

    configure_logs("migrate")
    try:
        revision = wait_for_schema(database_url, deadline=timedelta(seconds=timeout))
    except ArgumentError as error:
        raise Failure("DATABASE_URL is not a Postgres URL.", code=Exit.USAGE) from error
    except NoSchemaInTime as missing:
        remedy = (
            "Run `oncetune migrate` as the database's owner; in Kubernetes its Job does, whose log says why it did not."
        )
        raise Failure(f"after {timeout:g} s, {missing}.", remedy, Exit.TIMEOUT) from missing
    log.info("migration.there", outcome="ok", revision=revision, database=printable(database_url))
