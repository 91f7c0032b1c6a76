"""0001 expand: the ledger, the audit journal, and the three roles."""

from alembic import op

revision = "0001"
down_revision = None

ROLES = """
DO $$ BEGIN CREATE ROLE oncetune_trigger NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE oncetune_trainer NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE oncetune_status NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
"""

LEDGER = """
CREATE SCHEMA ledger;

CREATE TABLE ledger.dataset (
    sha256      text PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    row_count   integer NOT NULL CHECK (row_count > 0),
    byte_count  bigint NOT NULL CHECK (byte_count > 0),
    created_at  timestamptz NOT NULL DEFAULT now(),
    used_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE ledger.dataset_chunk (
    sha256   text NOT NULL REFERENCES ledger.dataset ON DELETE CASCADE,
    number   integer NOT NULL CHECK (number >= 0),
    content  bytea NOT NULL CHECK (octet_length(content) <= 1048576),
    PRIMARY KEY (sha256, number)
);
ALTER TABLE ledger.dataset_chunk ALTER COLUMN content SET STORAGE EXTERNAL;  -- compressed already

CREATE TABLE ledger.run (
    id                  uuid PRIMARY KEY,
    user_id             text NOT NULL,
    kb_id               text NOT NULL,
    exp_name            text NOT NULL,
    base_model          text NOT NULL,
    recipe              jsonb NOT NULL,
    recipe_version      integer NOT NULL,
    dataset_sha256      text NOT NULL REFERENCES ledger.dataset DEFERRABLE INITIALLY DEFERRED,
    traceparent         text,
    state               text NOT NULL DEFAULT 'queued'
                        CHECK (state IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    position            integer NOT NULL DEFAULT 1 CHECK (position >= 1),
    attempt             integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    strikes             integer NOT NULL DEFAULT 0 CHECK (strikes >= 0),
    available_at        timestamptz NOT NULL DEFAULT now(),
    claim_id            uuid,
    lease_owner         text,
    lease_seconds       double precision,
    lease_expires_at    timestamptz,
    renewals            integer NOT NULL DEFAULT 0,
    progress            jsonb,
    progress_events     integer NOT NULL DEFAULT 0,
    cancel_requested_at timestamptz,
    ended_by            uuid,
    metrics             jsonb,
    error               jsonb,
    artifact_uri        text,
    adapter_sha256      text CHECK (adapter_sha256 ~ '^[0-9a-f]{64}$'),
    created_at          timestamptz NOT NULL DEFAULT now(),
    started_at          timestamptz,
    finished_at         timestamptz,
    CONSTRAINT a_running_run_is_leased CHECK (
        (state = 'running') = (lease_owner IS NOT NULL)
        AND (state = 'running') = (lease_expires_at IS NOT NULL)
        AND (state = 'running') = (claim_id IS NOT NULL)),
    CONSTRAINT an_ended_run_has_its_time CHECK (
        (state IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CONSTRAINT a_completed_run_has_its_adapter CHECK (
        (state = 'completed') = (artifact_uri IS NOT NULL) AND (state = 'completed') = (adapter_sha256 IS NOT NULL)),
    CONSTRAINT a_failed_run_says_why CHECK ((state = 'failed') = (error IS NOT NULL)),
    CONSTRAINT a_queued_run_is_not_being_cancelled CHECK (state <> 'queued' OR cancel_requested_at IS NULL)
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX one_active_run_per_kb ON ledger.run (kb_id) WHERE state IN ('queued', 'running');
CREATE INDEX run_waiting ON ledger.run (available_at, created_at) WHERE state = 'queued';
CREATE INDEX run_running ON ledger.run (id) WHERE state = 'running';
CREATE INDEX run_of_user ON ledger.run (user_id, created_at DESC);
CREATE INDEX run_newest ON ledger.run (created_at DESC);
CREATE INDEX run_of_dataset ON ledger.run (dataset_sha256);

CREATE TABLE ledger.request_key (
    user_id      text NOT NULL,
    key          text NOT NULL,
    fingerprint  text NOT NULL,
    run_id       uuid NOT NULL REFERENCES ledger.run DEFERRABLE INITIALLY DEFERRED,
    expires_at   timestamptz NOT NULL,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX request_key_expiry ON ledger.request_key (expires_at);

CREATE TABLE ledger.outbox (
    event_id       uuid PRIMARY KEY,
    run_id         uuid NOT NULL REFERENCES ledger.run,
    position       integer NOT NULL,
    type           text NOT NULL,
    source         text NOT NULL,
    traceparent    text,
    payload        jsonb NOT NULL,
    occurred_at    timestamptz NOT NULL DEFAULT now(),
    publishes      integer NOT NULL DEFAULT 0,
    publish_after  timestamptz NOT NULL DEFAULT now(),
    confirmed_at   timestamptz,
    UNIQUE (run_id, position)
);
CREATE INDEX outbox_due ON ledger.outbox (publish_after) WHERE confirmed_at IS NULL;
"""

AUDIT = """
CREATE SCHEMA audit;

CREATE TABLE audit.journal (
    event_id     uuid PRIMARY KEY,
    run_id       uuid NOT NULL,
    position     integer NOT NULL,
    type         text NOT NULL,
    hash         text NOT NULL,
    event        jsonb NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX journal_of_run ON audit.journal (run_id, position);

CREATE TABLE audit.delivery (
    event_id  uuid NOT NULL,
    outcome   text NOT NULL CHECK (outcome IN ('duplicate', 'conflict', 'invalid', 'dead_letter')),
    run_id    uuid,
    count     bigint NOT NULL DEFAULT 1 CHECK (count > 0),
    first_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (event_id, outcome)
);
CREATE INDEX delivery_of_run ON audit.delivery (run_id);

CREATE TABLE audit.conflict (
    event_id     uuid NOT NULL,
    hash         text NOT NULL,
    event        jsonb NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (event_id, hash)
);

CREATE TABLE audit.dead_letter (
    sha256       text NOT NULL,
    topic        text NOT NULL,
    reason       text NOT NULL,
    body         bytea NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic, sha256)
);

-- The second wall behind the grants: whoever has the right to change rows must first take this away, visibly.
CREATE FUNCTION audit.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'audit rows never change: %% on %%.%%', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
      USING ERRCODE = 'insufficient_privilege'; END $$;
CREATE TRIGGER never_changes BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.journal
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER never_changes BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.conflict
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER never_changes BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.dead_letter
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
"""

GRANTS = """
GRANT USAGE ON SCHEMA ledger TO oncetune_trigger, oncetune_trainer, oncetune_status;
GRANT USAGE ON SCHEMA audit TO oncetune_trigger, oncetune_status;
GRANT SELECT, INSERT, UPDATE ON ledger.run TO oncetune_trigger;
GRANT SELECT, UPDATE ON ledger.run TO oncetune_trainer;
GRANT SELECT ON ledger.run TO oncetune_status;
GRANT SELECT, INSERT, UPDATE ON ledger.dataset TO oncetune_trigger;
GRANT SELECT ON ledger.dataset TO oncetune_trainer;
GRANT SELECT, INSERT ON ledger.dataset_chunk TO oncetune_trigger;
GRANT SELECT ON ledger.dataset_chunk TO oncetune_trainer;
GRANT SELECT, INSERT, UPDATE, DELETE ON ledger.request_key TO oncetune_trigger;
GRANT SELECT, INSERT, UPDATE, DELETE ON ledger.outbox TO oncetune_trigger;
GRANT INSERT ON ledger.outbox TO oncetune_trainer;
GRANT SELECT ON ledger.outbox TO oncetune_status;
GRANT SELECT (event_id, hash) ON audit.journal TO oncetune_trigger;
GRANT SELECT, INSERT ON audit.journal, audit.conflict, audit.dead_letter TO oncetune_status;
GRANT SELECT, INSERT, UPDATE ON audit.delivery TO oncetune_status;
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    for part in (ROLES, LEDGER, AUDIT, GRANTS):
        op.get_bind().exec_driver_sql(part)
