"""0002 expand: a run knows the step of its newest checkpoint. Trainers of the version before leave it empty."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.add_column("run", sa.Column("checkpoint_step", sa.Integer), schema="ledger")
