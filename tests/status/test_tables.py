import pytest
from sqlalchemy import inspect

from oncetune.status.tables import Delivery, JournalEntry


@pytest.mark.parametrize("table", [JournalEntry.__table__, Delivery.__table__], ids=str)
def test_an_audit_table_is_read_as_the_migrations_made_it(engine, table):
    made = {column["name"]: column for column in inspect(engine("status")).get_columns(table.name, schema="audit")}
    assert made.keys() == {column.name for column in table.columns}
    for column in table.columns:
        there = made[column.name]
        assert column.nullable == there["nullable"], column.name
        assert isinstance(there["type"], column.type._type_affinity), column.name
