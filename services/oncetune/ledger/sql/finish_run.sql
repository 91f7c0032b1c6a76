-- Close a run with the attempt's own result and write the event that says so, in one statement.
-- A failure after a cancel was asked is a cancellation; a completed adapter wins over a cancel.
-- No row back: unknown (a lost answer, or a later attempt owns the run): its ended_by tells.
WITH closed AS (
    UPDATE ledger.run
       SET state = CASE WHEN CAST(:state AS text) = 'failed' AND cancel_requested_at IS NOT NULL THEN 'cancelled' ELSE CAST(:state AS text) END,
           position = position + 1, ended_by = CAST(:event_id AS uuid), finished_at = clock_timestamp(),
           claim_id = NULL, lease_owner = NULL, lease_expires_at = NULL,
           checkpoint_step = CASE WHEN CAST(:state AS text) = 'failed' AND cancel_requested_at IS NOT NULL THEN checkpoint_step END,
           metrics = CAST(:metrics AS jsonb), artifact_uri = :artifact_uri, adapter_sha256 = :adapter_sha256,
           manifest = CAST(:manifest AS jsonb), files = CAST(:files AS jsonb),
           error = CASE WHEN CAST(:state AS text) = 'failed' AND cancel_requested_at IS NULL THEN CAST(:error AS jsonb) END
     WHERE id = :run_id AND attempt = :attempt AND state = 'running'
 RETURNING id, attempt, position, traceparent, state, metrics, artifact_uri, adapter_sha256, error
), announced AS (
    INSERT INTO ledger.outbox (event_id, run_id, position, type, source, traceparent, payload)
    SELECT CAST(:event_id AS uuid), id, position, 'run.' || state, :source, traceparent,
           jsonb_build_object('attempt', attempt) || CASE state
               WHEN 'completed' THEN jsonb_build_object('artifact_uri', artifact_uri, 'adapter_sha256', adapter_sha256,
                                                        'metrics', COALESCE(metrics, '{}'))
               WHEN 'failed' THEN error
               ELSE '{}' END
      FROM closed
)
SELECT state FROM closed
