-- Tie a run to the dataset that its URL gave, once, and write the event that says so: every later attempt reads the
-- same recipe. Last statement of the transaction that stored the rows: the run's row is locked for a moment only.
-- No row back: another attempt owns the run, it has ended, or it has its dataset: read it before believing either.
WITH pinned AS (
    UPDATE ledger.run
       SET dataset_sha256 = :sha256, dataset_format = :format, dataset_notes = CAST(:notes AS jsonb), position = position + 1,
           recipe = jsonb_set(recipe, '{dataset_sha256}', to_jsonb(CAST(:sha256 AS text)))
     WHERE id = :run_id AND attempt = :attempt AND state = 'running' AND dataset_sha256 IS NULL
 RETURNING id, attempt, position, traceparent
)
INSERT INTO ledger.outbox (event_id, run_id, position, type, source, traceparent, payload)
SELECT :event_id, id, position, 'run.dataset_stored', :source, traceparent,
       CAST(:payload AS jsonb) || jsonb_build_object('attempt', attempt)
  FROM pinned
RETURNING run_id
