"""0006 expand: a run knows what was read otherwise than it stood in its dataset.

Services of the version before leave it NULL, and do not tell it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.add_column("run", sa.Column("dataset_notes", JSONB), schema="ledger")
