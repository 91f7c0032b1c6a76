-- Stop a queued run at once and ask a running one to stop, in one statement: a release in between hides nothing.
-- No row back: the run has ended, or was asked before.
WITH asked AS (
    UPDATE ledger.run
       SET state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END, position = position + 1,
           cancel_requested_at = clock_timestamp(),
           finished_at = CASE WHEN state = 'queued' THEN clock_timestamp() END,
           ended_by = CASE WHEN state = 'queued' THEN CAST(:event_id AS uuid) END
     WHERE id = :run_id AND state IN ('queued', 'running') AND cancel_requested_at IS NULL
 RETURNING id, attempt, position, traceparent, state
), announced AS (
    INSERT INTO ledger.outbox (event_id, run_id, position, type, source, traceparent, payload)
    SELECT CAST(:event_id AS uuid), id, position, CASE state WHEN 'cancelled' THEN 'run.cancelled' ELSE 'run.cancel_requested' END,
           :source, traceparent,
           CASE state WHEN 'cancelled' THEN jsonb_build_object('attempt', attempt)
                      ELSE jsonb_build_object('requested_by', CAST(:requested_by AS text)) END
      FROM asked
)
SELECT state FROM asked
