-- A new run and the event that announces it, in one statement.
-- No row back: another run of this kb_id is active.
WITH recorded AS (
    INSERT INTO ledger.run (id, user_id, kb_id, exp_name, base_model, recipe, recipe_version, dataset_sha256, traceparent)
    VALUES (:run_id, :user_id, :kb_id, :exp_name, :base_model, CAST(:recipe AS jsonb), :recipe_version,
            :dataset_sha256, :traceparent)
    ON CONFLICT (kb_id) WHERE state IN ('queued', 'running') DO NOTHING
    RETURNING id, position, traceparent
)
INSERT INTO ledger.outbox (event_id, run_id, position, type, source, traceparent, payload)
SELECT :event_id, id, position, 'run.requested', :source, traceparent, CAST(:payload AS jsonb)
  FROM recorded
RETURNING run_id
