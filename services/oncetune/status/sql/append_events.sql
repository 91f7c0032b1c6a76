-- Journal a batch and return the ids that were new.
-- Ordered, or two overlapping batches deadlock. An id that does not come back is in the journal already, perhaps since
-- a moment ago by a writer that this statement's snapshot cannot see: ask for its hash in a statement of its own.
INSERT INTO audit.journal (event_id, run_id, position, type, hash, event)
SELECT event_id, run_id, position, type, hash, event
  FROM jsonb_to_recordset(CAST(:events AS jsonb))
       AS given (event_id uuid, run_id uuid, position integer, type text, hash text, event jsonb)
 ORDER BY event_id
    ON CONFLICT (event_id) DO NOTHING
RETURNING event_id;
