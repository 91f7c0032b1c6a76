"""Who may do what: the matrix in the migrations' docstring is the database's, privilege by privilege."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from oncetune import migrations
from oncetune.postgres import transaction
from tests.ledger.given import rows_of

SERVICES = ("trigger", "trainer", "status")
PRIVILEGES = {"select", "insert", "update", "delete", "truncate", "references", "trigger"}
FORBIDDEN = [
    "UPDATE audit.{table} SET received_at = now()",
    "DELETE FROM audit.{table}",
    "TRUNCATE audit.{table}",
]
CHANGES_OF_THE_TABLE = [
    "ALTER TABLE audit.{table} ADD COLUMN x integer",
    "ALTER TABLE audit.{table} DISABLE TRIGGER never_changes",
    "DROP TRIGGER never_changes ON audit.{table}",
    "DROP TABLE audit.{table}",
]
FOR_EVER = ("journal", "conflict", "dead_letter")


def _matrix():
    """Table → service → the words of its cell."""
    lines = [line for line in (migrations.__doc__ or "").splitlines() if line.startswith("| ")]
    header, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    assert header == ["table", *SERVICES]
    return {table: dict(zip(SERVICES, cells, strict=True)) for table, *cells in rows}


MATRIX = _matrix()


def _sqlstate(engine, sql):
    with pytest.raises(DBAPIError) as refusal, transaction(engine) as session:
        session.execute(text(sql))
    return refusal.value.orig


def test_the_matrix_names_every_table(engine):
    tables = rows_of(
        engine(None), "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('ledger', 'audit')"
    )
    assert {name for (name,) in tables} == set(MATRIX)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_exactly_the_rights_of_its_column(engine, service):
    owner = engine(None)
    for table, cells in MATRIX.items():
        words, _, columns = cells[service].partition("(")
        granted = set(words.split()) - {"-"}
        assert granted <= PRIVILEGES
        whole = set() if columns else granted
        held = rows_of(
            owner,
            "SELECT privilege FROM unnest(CAST(:words AS text[])) AS privilege"
            " WHERE has_table_privilege(:role, :table, privilege)",
            role=f"oncetune_{service}", table=table, words=sorted(PRIVILEGES),
        )  # fmt: skip
        assert {word for (word,) in held} == whole, (service, table)
        by_column = rows_of(
            owner,
            "SELECT attname FROM pg_attribute WHERE attrelid = CAST(:table AS regclass) AND attnum > 0"
            " AND has_column_privilege(:role, attrelid, attnum, 'select')",
            role=f"oncetune_{service}", table=table,
        )  # fmt: skip
        if columns:
            assert {name for (name,) in by_column} == set(columns.rstrip(")").replace(" ", "").split(","))
        else:
            assert bool(by_column) == ("select" in whole)


def test_nobody_else_has_any_right(engine):
    others = rows_of(
        engine(None),
        "SELECT table_schema, table_name, grantee FROM information_schema.table_privileges"
        " WHERE table_schema IN ('ledger', 'audit') AND grantee <> current_user AND grantee <> ALL(:known)",
        known=[f"oncetune_{service}" for service in SERVICES],
    )
    assert others == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_connection_of_a_service_acts_as_its_role_and_may_create_nothing(engine, service):
    own = engine(service)
    assert [name for (name,) in rows_of(own, "SELECT CAST(current_user AS text)")] == [f"oncetune_{service}"]
    for schema in ("ledger", "audit", "public"):
        assert _sqlstate(own, f"CREATE TABLE {schema}.mine (x integer)").sqlstate == "42501"


@pytest.mark.parametrize("table", FOR_EVER)
@pytest.mark.parametrize("sql", FORBIDDEN + CHANGES_OF_THE_TABLE)
def test_status_can_change_nothing_that_it_has_written(engine, sql, table):
    assert _sqlstate(engine("status"), sql.format(table=table)).sqlstate == "42501"


def test_status_cannot_write_over_a_row_by_its_insert(engine):
    over = (
        "INSERT INTO audit.journal (event_id, run_id, position, type, hash, event)"
        " VALUES (gen_random_uuid(), gen_random_uuid(), 1, 'x', 'x', '{}')"
        " ON CONFLICT (event_id) DO UPDATE SET hash = excluded.hash"
    )
    assert _sqlstate(engine("status"), over).sqlstate == "42501"


@pytest.mark.parametrize("table", FOR_EVER)
@pytest.mark.parametrize("sql", FORBIDDEN)
def test_even_the_owner_must_first_take_the_wall_away(engine, sql, table):
    refusal = _sqlstate(engine(None), sql.format(table=table))
    assert refusal.sqlstate == "42501"
    assert refusal.diag.message_primary == f"audit rows never change: {sql.split()[0]} on audit.{table}"
