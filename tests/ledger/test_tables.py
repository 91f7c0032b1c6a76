"""The SQLModel classes and the statements are those of the migrated database."""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from sqlalchemy import Table, inspect
from sqlalchemy.dialects import postgresql
from sqlmodel import SQLModel

import oncetune.ledger.tables
import oncetune.status.tables
from tests.ledger.given import rows_of

ROOMS = (oncetune.ledger.tables, oncetune.status.tables)
PACKAGE = Path(str(files("oncetune")))
STATEMENTS = sorted(PACKAGE.glob("*/sql/*.sql"))


def _models() -> Iterator[Table]:
    for room in ROOMS:
        for model in vars(room).values():
            if isinstance(model, type) and issubclass(model, SQLModel) and model is not SQLModel:
                yield model.__table__


@pytest.mark.parametrize("table", list(_models()), ids=lambda table: table.fullname)
def test_a_class_reads_columns_that_exist_with_their_type_and_nullability(engine, table):
    dialect = postgresql.dialect()
    inspector = inspect(engine(None))
    stored = {column["name"]: column for column in inspector.get_columns(table.name, schema=table.schema)}
    for column in table.columns:
        there = stored[column.name]
        assert column.type.compile(dialect) == there["type"].compile(dialect), column
        assert column.nullable == there["nullable"], column
    key = inspector.get_pk_constraint(table.name, schema=table.schema)["constrained_columns"]
    assert set(key) == {column.name for column in table.primary_key}


def test_every_class_is_compared():
    compared = {table.fullname for table in _models()}
    assert compared >= {"ledger.run", "ledger.outbox", "ledger.request_key", "audit.journal", "audit.delivery"}


def _called() -> set[tuple[str, str]]:
    code = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    return set(re.findall(r'statement\("(\w+)", "(\w+)"\)', code))


@pytest.mark.parametrize("path", STATEMENTS, ids=lambda path: f"{path.parts[-3]}.{path.stem}")
def test_a_statement_begins_with_what_it_means_and_is_used(path):
    assert path.read_text(encoding="utf-8").startswith("-- ")
    assert (path.parts[-3], path.stem) in _called()


def test_every_statement_that_is_used_exists():
    assert _called() == {(path.parts[-3], path.stem) for path in STATEMENTS}


def test_every_foreign_key_is_indexed_or_a_key_itself(engine):
    """Else deleting a referenced row reads the whole referencing table."""
    missing = rows_of(
        engine(None),
        "SELECT CAST(conrelid AS regclass), conname FROM pg_constraint"
        " WHERE contype = 'f' AND CAST(conrelid AS regclass)::text ~ '^(ledger|audit)\\.' AND NOT EXISTS ("
        " SELECT FROM pg_index WHERE indrelid = conrelid AND indkey[0] = conkey[1])",
    )
    assert [name for _, name in missing] == ["request_key_run_id_fkey"], "runs are never deleted with keys alive"
