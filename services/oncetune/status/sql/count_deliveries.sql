-- Add to the counts. Each (event_id, outcome) stands once in :counts: DO UPDATE refuses to change a row twice.
INSERT INTO audit.delivery AS known (event_id, outcome, run_id, count)
SELECT event_id, outcome, run_id, count
  FROM jsonb_to_recordset(CAST(:counts AS jsonb)) AS given (event_id uuid, outcome text, run_id uuid, count bigint)
 ORDER BY event_id, outcome
    ON CONFLICT (event_id, outcome) DO UPDATE
   SET count = known.count + excluded.count,
       run_id = COALESCE(known.run_id, excluded.run_id),
       last_at = clock_timestamp();
