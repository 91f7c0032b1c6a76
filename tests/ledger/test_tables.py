"""The SQLModel classes and the statements are those of the migrated database."""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from sqlalchemy import Table, inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

import oncetune.ledger.tables
import oncetune.status.tables
from tests.ledger.given import change, record, rows_of

ROOMS = (oncetune.ledger.tables, oncetune.status.tables)
PACKAGE = Path(str(files("oncetune")))
STATEMENTS = sorted(PACKAGE.glob("*/sql/*.sql"))
SECOND_EVENT = """
INSERT INTO ledger.outbox (event_id, run_id, position, type, source, payload)
SELECT gen_random_uuid(), run_id, position, type, source, payload FROM ledger.outbox
"""


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


@pytest.mark.parametrize(
    ("wall", "lie"),
    [
        ("a_running_run_is_leased", "UPDATE ledger.run SET state = 'running'"),
        ("an_ended_run_has_its_time", "UPDATE ledger.run SET state = 'cancelled'"),
        ("a_completed_run_has_its_adapter", "UPDATE ledger.run SET state = 'completed', finished_at = now()"),
        ("a_failed_run_says_why", "UPDATE ledger.run SET state = 'failed', finished_at = now()"),
        ("a_queued_run_is_not_being_cancelled", "UPDATE ledger.run SET cancel_requested_at = now()"),
        ("run_state_check", "UPDATE ledger.run SET state = 'paused'"),
        ("outbox_run_id_position_key", SECOND_EVENT),
    ],
)
def test_the_table_itself_refuses_what_no_statement_may_write(engine, wall, lie):
    record(engine("trigger"))
    with pytest.raises(IntegrityError, match=wall):
        change(engine(None), lie)


def test_every_foreign_key_is_indexed_or_a_key_itself(engine):
    """Else deleting a referenced row reads the whole referencing table."""
    missing = rows_of(
        engine(None),
        "SELECT CAST(conrelid AS regclass), conname FROM pg_constraint"
        " WHERE contype = 'f' AND CAST(conrelid AS regclass)::text ~ '^(ledger|audit)\\.' AND NOT EXISTS ("
        " SELECT FROM pg_index WHERE indrelid = conrelid AND indkey[0] = conkey[1])",
    )
    assert [name for _, name in missing] == ["request_key_run_id_fkey"], "runs are never deleted with keys alive"
