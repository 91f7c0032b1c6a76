"""Who may do what: the matrix in the migrations' docstring is the database's, privilege by privilege."""

import uuid

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from oncetune import migrations
from oncetune.postgres import connect, transaction
from tests.ledger.given import rows_of

SERVICES = ("trigger", "trainer", "status")
PRIVILEGES = {"select", "insert", "update", "delete", "truncate", "references", "trigger"}
FORBIDDEN = [
    "UPDATE audit.{table} SET {column} = now()",
    "DELETE FROM audit.{table}",
    "TRUNCATE audit.{table} CASCADE",
]
CHANGES_OF_THE_TABLE = [
    "ALTER TABLE audit.{table} DROP COLUMN {column}",
    "ALTER TABLE audit.{table} DISABLE TRIGGER ALL",
    "ALTER TABLE audit.{table} OWNER TO current_user",
    "CREATE RULE lost AS ON INSERT TO audit.{table} DO INSTEAD NOTHING",
    "CREATE TRIGGER lost BEFORE INSERT ON audit.{table} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "ALTER TABLE audit.{table} ADD COLUMN x integer",
    "ALTER TABLE audit.{table} DISABLE TRIGGER never_changes",
    "DROP TABLE audit.{table}",
]
AROUND_THE_WALL = [
    "SET session_replication_role = replica",  # triggers would sleep
    "DROP FUNCTION audit.refuse_change() CASCADE",
    "ALTER FUNCTION audit.refuse_change() RENAME TO lost",
    "DROP SCHEMA audit CASCADE",
]
MOMENT = {"delivery": "last_at", "dead_letter_decision": "decided_at"}  # of the others: received_at
FOR_EVER = ("journal", "conflict", "dead_letter", "dead_letter_decision")
AUDIT = (*FOR_EVER, "delivery")


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


def _answers(engine, statements, *, first="SELECT"):
    """Statement → its SQLSTATE, "done" where it was not refused, "wall" where only the trigger refused it."""
    answers = {}
    for sql in statements:
        with engine.connect() as connection:
            try:
                connection.execute(text(first))
                connection.execute(text(sql))
                answers[sql] = "done"  # and rolled back
            except DBAPIError as refusal:
                by_trigger = str(refusal.orig.diag.message_primary).startswith("audit rows never change")
                answers[sql] = "wall" if by_trigger else refusal.orig.sqlstate
    return answers


def _changes(table):
    """Every way to change a row of it, or the table, or what protects both."""
    column = MOMENT.get(table, "received_at")
    wall = ["DROP TRIGGER never_changes ON audit.{table}"] if table in FOR_EVER else []
    every = FORBIDDEN + CHANGES_OF_THE_TABLE + AROUND_THE_WALL + wall
    return {sql.format(table=table, column=column) for sql in every}


def _refusals(service, table):
    """What `_changes` has to be answered with; the counts of deliveries are telemetry, status adds to them."""
    counted = {"UPDATE audit.delivery SET last_at = now()"} if service == "status" else set()
    return {sql: "done" if sql in counted else "42501" for sql in _changes(table)}


@pytest.mark.parametrize("table", AUDIT)
@pytest.mark.parametrize("service", SERVICES)
def test_no_service_can_change_an_audit_row_its_table_or_the_wall_around_it(engine, service, table):
    assert _answers(engine(service), _changes(table)) == _refusals(service, table)


@pytest.fixture
def login(database_url, administer):
    """`login("status")`: a pool of a login of its own that is a member of that service's role only."""
    made = []

    def connected(service):
        name = f"login_{uuid.uuid4().hex}"
        administer(f"CREATE ROLE {name} LOGIN PASSWORD '{name}' IN ROLE oncetune_{service}")
        url = make_url(database_url).set(username=name, password=name).render_as_string(hide_password=False)
        made.append((name, connect(url, role=f"oncetune_{service}", pool_size=1)))
        return made[-1][1]

    yield connected
    for name, pool in made:
        pool.dispose()
        administer(f"DROP ROLE {name}")


@pytest.mark.parametrize("service", SERVICES)
def test_a_login_that_is_only_a_member_of_one_role_can_do_no_more_also_when_it_leaves_that_role(engine, login, service):
    member = login(service)
    for first in ("SELECT", "RESET ROLE"):
        for table in AUDIT:
            assert _answers(member, _changes(table), first=first) == _refusals(service, table), first
    others = {f"SET ROLE oncetune_{other}" for other in SERVICES if other != service}
    owner = rows_of(engine(None), "SELECT quote_ident(current_user)")[0][0]
    others |= {f"SET ROLE {owner}", f"SET SESSION AUTHORIZATION {owner}"}
    assert set(_answers(member, others).values()) == {"42501"}


def test_every_audit_table_is_tried(engine):
    tables = rows_of(engine(None), "SELECT CAST(tablename AS text) FROM pg_tables WHERE schemaname = 'audit'")
    assert {name for (name,) in tables} == set(AUDIT)


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
    refusal = _sqlstate(engine(None), sql.format(table=table, column=MOMENT.get(table, "received_at")))
    assert refusal.sqlstate == "42501"
    assert refusal.diag.message_primary == f"audit rows never change: {sql.split()[0]} on audit.{table}"
