"""0004 expand: a run knows its furthest checkpoint ever, and the sweep finds confirmed events by an index.

Trainers of the version before leave the step at 0; `checkpoint_step` is looked at, too.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.add_column("run", sa.Column("furthest_step", sa.Integer, nullable=False, server_default="0"), schema="ledger")
    op.execute("CREATE INDEX outbox_confirmed ON ledger.outbox (confirmed_at) WHERE confirmed_at IS NOT NULL")
