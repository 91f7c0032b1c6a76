"""0003 expand: what was decided about a dead letter. Services of the version before decide nothing."""

from alembic import op

revision = "0003"
down_revision = "0002"

DECISIONS = """
CREATE TABLE audit.dead_letter_decision (
    topic       text NOT NULL,
    sha256      text NOT NULL,
    decision    text NOT NULL CHECK (decision IN ('replayed', 'discarded')),
    outcome     text CHECK (outcome IN ('ok', 'duplicate', 'conflict')),
    decided_by  text NOT NULL,
    decided_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic, sha256),
    FOREIGN KEY (topic, sha256) REFERENCES audit.dead_letter,
    CONSTRAINT a_replay_has_its_outcome CHECK ((decision = 'replayed') = (outcome IS NOT NULL))
);
CREATE TRIGGER never_changes BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.dead_letter_decision
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE INDEX dead_letter_newest ON audit.dead_letter (received_at DESC, sha256 DESC, topic DESC);
GRANT SELECT, INSERT ON audit.dead_letter_decision TO oncetune_status;
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.get_bind().exec_driver_sql(DECISIONS)
