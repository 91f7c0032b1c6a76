-- Lease one queued run to a trainer: the run with :run_id, or whichever has waited longest when that is null.
-- A run that already carries :claim_id is this claim's own, its answer was lost: it is returned as it stands.
-- No row back: nothing waits that this trainer understands. Rows that others are claiming are skipped.
-- FOR NO KEY UPDATE: an event that is just being inserted holds a key-share lock on its run and must not hide it.
WITH mine AS (
    SELECT id, attempt, strikes, recipe, lease_expires_at, traceparent FROM ledger.run
     WHERE claim_id = :claim_id AND lease_owner = :worker AND state = 'running'
), next AS (
    SELECT id FROM ledger.run
     WHERE state = 'queued' AND available_at <= clock_timestamp()
       AND recipe_version = ANY(CAST(:recipe_versions AS integer[]))
       AND (CAST(:run_id AS uuid) IS NULL OR id = :run_id)
       AND NOT EXISTS (SELECT FROM mine)
     ORDER BY available_at, created_at
     LIMIT 1
       FOR NO KEY UPDATE SKIP LOCKED
), claimed AS (
    UPDATE ledger.run AS run
       SET state = 'running', attempt = run.attempt + 1, position = run.position + 1, claim_id = :claim_id,
           lease_owner = :worker, lease_seconds = :lease_seconds,
           lease_expires_at = clock_timestamp() + make_interval(secs => :lease_seconds), renewals = 0,
           progress = NULL, progress_events = 0, started_at = COALESCE(run.started_at, clock_timestamp())
      FROM next
     WHERE run.id = next.id
 RETURNING run.id, run.attempt, run.strikes, run.position, run.recipe, run.traceparent, run.lease_expires_at
), announced AS (
    INSERT INTO ledger.outbox (event_id, run_id, position, type, source, traceparent, payload)
    SELECT CAST(:event_id AS uuid), id, position, 'run.started', :source, traceparent,
           jsonb_build_object('attempt', attempt, 'worker', CAST(:worker AS text))
      FROM claimed
)
SELECT id, attempt, strikes, recipe, lease_expires_at, traceparent FROM claimed
UNION ALL
SELECT id, attempt, strikes, recipe, lease_expires_at, traceparent FROM mine
