-- End a lease without a result: cancelled if that was asked, failed if the strikes are used up, else queued again.
-- :reason 'expired' judges the lease here, by the database's clock, and never in the first lease after the database
-- started: trainers that live must be able to renew first. Only a reason that is the run's own fault is a strike;
-- an expiry without a single renewal is none (the claim's answer may never have arrived). A full disk is none either,
-- but every run waits it out, longer with each attempt.
-- After the first strike the next attempt may begin at once, then in 2, 6, 14 … seconds.
-- No row back: this attempt does not hold the run, or the lease is alive.
WITH held AS (  -- the row as it is once its lock is held; joined again, it would be the older one of the snapshot
    SELECT id, strikes, cancel_requested_at, LEAST(attempt, 30) AS attempts,
           CASE WHEN CAST(:reason AS text) IN ('released', 'cancelled', 'not_stored')
                  OR (CAST(:reason AS text) = 'expired' AND renewals = 0)
                THEN 0 ELSE 1 END AS strike
      FROM ledger.run
     WHERE id = :run_id AND attempt = :attempt AND state = 'running'
       AND (CAST(:reason AS text) <> 'expired'
            OR (lease_expires_at < clock_timestamp()
                AND pg_postmaster_start_time() < clock_timestamp() - make_interval(secs => lease_seconds)))
       FOR NO KEY UPDATE
), verdict AS (
    SELECT id, strikes + strike AS strikes,
           CASE WHEN cancel_requested_at IS NOT NULL THEN 'cancelled'
                WHEN strikes + strike >= :max_strikes THEN 'failed'
                ELSE 'queued' END AS state,
           clock_timestamp() + make_interval(secs => LEAST(:max_backoff_seconds, CASE
               WHEN CAST(:reason AS text) = 'not_stored' THEN power(2, attempts)
               ELSE strike * (power(2, strikes + strike) - 2) END)) AS available_at
      FROM held
), ended AS (
    UPDATE ledger.run AS run
       SET state = verdict.state, strikes = verdict.strikes, position = run.position + 1,
           claim_id = NULL, lease_owner = NULL, lease_expires_at = NULL, progress = NULL,
           checkpoint_step = CASE WHEN verdict.state <> 'failed'
                                  THEN COALESCE(CAST(:checkpoint_step AS integer), run.checkpoint_step) END,
           available_at = verdict.available_at,
           files = CASE WHEN verdict.state <> 'queued' THEN CAST(:files AS jsonb) END,
           finished_at = CASE WHEN verdict.state = 'queued' THEN NULL ELSE clock_timestamp() END,
           ended_by = CASE WHEN verdict.state = 'queued' THEN NULL ELSE CAST(:event_id AS uuid) END,
           error = CASE WHEN verdict.state = 'failed' THEN jsonb_build_object(
                       'code', 'attempts_exhausted',
                       'message', format('%s attempts ended without a result; the last one: %s. %s',
                                         verdict.strikes, CAST(:reason AS text), CAST(:message AS text))) END
      FROM verdict
     WHERE run.id = verdict.id
 RETURNING run.id, run.attempt, run.position, run.traceparent, run.state, run.strikes, run.available_at, run.error
), announced AS (
    INSERT INTO ledger.outbox (event_id, run_id, position, type, source, traceparent, payload)
    SELECT CAST(:event_id AS uuid), id, position, CASE state WHEN 'queued' THEN 'run.requeued' ELSE 'run.' || state END,
           CAST(:source AS text), traceparent,
           jsonb_build_object('attempt', attempt) || CASE state
               WHEN 'queued' THEN jsonb_build_object('reason', CAST(:reason AS text), 'strikes', strikes, 'available_at', available_at)
               WHEN 'failed' THEN error
               ELSE '{}' END
      FROM ended
)
SELECT state FROM ended
