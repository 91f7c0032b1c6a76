"""0005 expand: datasets by URL, their fingerprints and quality, download tokens, manifests, files of a result.

Services of the version before record inline datasets as ever; their trainers do not claim recipes of version 2.
"""

from alembic import op

revision = "0005"
down_revision = "0004"

TABLES = """
ALTER TABLE ledger.dataset
    ADD COLUMN set_sha256 text CHECK (set_sha256 ~ '^[0-9a-f]{64}$');  -- NULL: stored by the version before
CREATE INDEX dataset_of_set ON ledger.dataset (set_sha256);

ALTER TABLE ledger.run
    ALTER COLUMN dataset_sha256 DROP NOT NULL,
    ADD COLUMN dataset_url text,
    ADD COLUMN dataset_format text,
    ADD COLUMN parent_run_id uuid,
    ADD COLUMN quality jsonb,
    ADD COLUMN manifest jsonb,
    ADD COLUMN files jsonb,                      -- of the result: name -> {bytes, sha256}
    ADD COLUMN files_removed_at timestamptz,     -- retention took them away
    ADD CONSTRAINT a_run_has_a_dataset_or_its_url
        CHECK (dataset_sha256 IS NOT NULL OR dataset_url IS NOT NULL) NOT VALID;
CREATE INDEX run_ended ON ledger.run (finished_at) WHERE finished_at IS NOT NULL AND files_removed_at IS NULL;
ALTER TABLE ledger.run VALIDATE CONSTRAINT a_run_has_a_dataset_or_its_url;

CREATE TABLE ledger.download_token (
    sha256      text PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    run_id      uuid NOT NULL REFERENCES ledger.run,
    issued_to   text NOT NULL,
    issued_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz
);
CREATE INDEX download_token_expiry ON ledger.download_token (expires_at);
CREATE INDEX download_token_of_run ON ledger.download_token (run_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON ledger.download_token TO oncetune_trigger;
GRANT INSERT, UPDATE ON ledger.dataset TO oncetune_trainer;
GRANT INSERT ON ledger.dataset_chunk TO oncetune_trainer;
GRANT SELECT ON ledger.outbox TO oncetune_trainer;
GRANT USAGE ON SCHEMA audit TO oncetune_trainer;
GRANT SELECT (run_id, outcome, count) ON audit.delivery TO oncetune_trainer;
GRANT SELECT ON ledger.dataset TO oncetune_status;
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.get_bind().exec_driver_sql(TABLES)
