"""What the rows say about the only run of a test."""

from tests.ledger.given import rows_of


def the_run(owner):
    return rows_of(owner, "SELECT * FROM ledger.run")[0]


def the_trail(owner):
    rows = rows_of(owner, "SELECT position, type, payload FROM ledger.outbox ORDER BY position")
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))
    return [row for row in rows if row.type != "run.progress"]


def the_types(owner):
    return [row.type for row in the_trail(owner)]


def the_requeue(owner):
    """The event that says so first, None until then: the run itself may be claimed again in a blink."""
    return next((row for row in the_trail(owner) if row.type == "run.requeued"), None)
