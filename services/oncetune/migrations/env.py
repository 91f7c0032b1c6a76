"""Alembic's entry: one connection, one migrator at a time, a lock never waited for longer than two seconds."""

from alembic import context
from sqlalchemy import Connection, text

_MIGRATOR_LOCK = 0x6F6E6365  # "once": advisory, so that two migrators take turns

connection: Connection = context.config.attributes["connection"]
connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATOR_LOCK})
connection.commit()
try:
    context.configure(connection=connection, version_table="alembic_version", transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
    # A service's login waits for its schema (`oncetune migrate --wait`), so it must be able to see which one is there.
    connection.execute(text("GRANT SELECT ON alembic_version TO oncetune_trigger, oncetune_status, oncetune_trainer"))
    connection.commit()
finally:
    connection.rollback()
    connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _MIGRATOR_LOCK})
    connection.commit()
