-- Keep what was said of a run's dataset, once: later attempts read it. No event: it may hold text of the dataset.
-- No row back: another attempt owns the run, it has ended, or it has its report.
UPDATE ledger.run
   SET quality = CAST(:quality AS jsonb)
 WHERE id = :run_id AND attempt = :attempt AND state = 'running' AND quality IS NULL
RETURNING id
