-- Keep a lease and say how far the attempt is; every now and then (:event_id is not null) as an event, too.
-- Fenced by attempt and state, not by expiry: an outage of the database is not the trainer's fault.
-- A checkpoint beyond every earlier one forgives the strikes: what gets further each time is no poison. One that was
-- lost or damaged sets `checkpoint_step` back, and `furthest_step` never, or the way there would be forgiven for ever.
-- The first word of a training tells what it goes on from: without a checkpoint in it, there is none any more. Children
-- that fetch or check the rows before it know of no checkpoint.
-- No row back: another attempt owns the run, or it has ended.
WITH renewed AS (
    UPDATE ledger.run
       SET lease_expires_at = clock_timestamp() + make_interval(secs => lease_seconds), renewals = renewals + 1,
           progress = COALESCE(CAST(:progress AS jsonb), progress),
           strikes = CASE WHEN CAST(CAST(:progress AS jsonb)->>'checkpoint_step' AS integer) > GREATEST(furthest_step, checkpoint_step)
                          THEN 0 ELSE strikes END,
           furthest_step = GREATEST(furthest_step, checkpoint_step,
                                    CAST(CAST(:progress AS jsonb)->>'checkpoint_step' AS integer)),
           checkpoint_step = COALESCE(CAST(CAST(:progress AS jsonb)->>'checkpoint_step' AS integer),
                                      CASE WHEN progress->>'phase' NOT IN ('fetching', 'checking')
                                                OR CAST(:progress AS jsonb) IS NULL
                                                OR CAST(:progress AS jsonb)->>'phase' IN ('fetching', 'checking')
                                           THEN checkpoint_step END),
           position = position + CASE WHEN CAST(:event_id AS uuid) IS NULL THEN 0 ELSE 1 END,
           progress_events = progress_events + CASE WHEN CAST(:event_id AS uuid) IS NULL THEN 0 ELSE 1 END
     WHERE id = :run_id AND attempt = :attempt AND state = 'running'
 RETURNING id, attempt, position, traceparent, cancel_requested_at
), announced AS (
    INSERT INTO ledger.outbox (event_id, run_id, position, type, source, traceparent, payload)
    SELECT CAST(:event_id AS uuid), id, position, 'run.progress', :source, traceparent,
           CAST(:event_payload AS jsonb) || jsonb_build_object('attempt', attempt)
      FROM renewed
     WHERE CAST(:event_id AS uuid) IS NOT NULL
)
SELECT cancel_requested_at IS NOT NULL AS cancel_requested FROM renewed
