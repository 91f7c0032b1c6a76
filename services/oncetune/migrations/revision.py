"""Which schema a database has and which one this version needs, without Alembic: a service may ask at any time."""

from functools import cache
from importlib.resources import files

from sqlalchemy import Connection, text


@cache
def needed() -> str:
    """The newest revision of this package; each migration's file begins with its own, four digits."""
    versions = files("oncetune") / "migrations" / "versions"
    return max(path.name[:4] for path in versions.iterdir() if path.name[:4].isdigit())


def found(connection: Connection) -> str | None:
    """The database's revision; None before the first. Raises sqlalchemy's errors where it cannot be read."""
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision
