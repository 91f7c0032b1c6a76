-- A new run and the event that announces it, in one statement.
-- `seconds`: the user has :limit runs of the last minute, and nothing is recorded; so long until the next is welcome.
-- The caller holds the user's turn, taken by a statement before: this one's snapshot has whatever was committed.
-- Neither `seconds` nor `run_id`: another run of this kb_id is active.
WITH too_many AS (
    SELECT CAST(ceil(60 - extract(epoch FROM clock_timestamp() - created_at)) AS integer) AS seconds
      FROM ledger.run
     WHERE user_id = :user_id AND created_at > clock_timestamp() - interval '60 s'
     ORDER BY created_at DESC
    OFFSET :limit - 1
     LIMIT 1
), recorded AS (
    INSERT INTO ledger.run (id, user_id, kb_id, exp_name, base_model, recipe, recipe_version, dataset_sha256,
                            dataset_url, dataset_format, dataset_notes, parent_run_id, traceparent)
    SELECT :run_id, :user_id, :kb_id, :exp_name, :base_model, CAST(:recipe AS jsonb), :recipe_version, :dataset_sha256,
           :dataset_url, :dataset_format, CAST(:dataset_notes AS jsonb), CAST(:parent_run_id AS uuid), :traceparent
     WHERE NOT EXISTS (SELECT FROM too_many)
    ON CONFLICT (kb_id) WHERE state IN ('queued', 'running') DO NOTHING
    RETURNING id, position, traceparent
), announced AS (
    INSERT INTO ledger.outbox (event_id, run_id, position, type, source, traceparent, payload)
    SELECT :event_id, id, position, 'run.requested', :source, traceparent, CAST(:payload AS jsonb)
      FROM recorded
    RETURNING run_id
)
SELECT (SELECT seconds FROM too_many) AS seconds, (SELECT run_id FROM announced) AS run_id
