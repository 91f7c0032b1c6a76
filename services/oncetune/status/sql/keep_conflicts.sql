-- Keep what came under the id of another event, once for each content.
INSERT INTO audit.conflict (event_id, hash, event)
SELECT event_id, hash, event
  FROM jsonb_to_recordset(CAST(:events AS jsonb)) AS given (event_id uuid, hash text, event jsonb)
 ORDER BY event_id, hash
    ON CONFLICT (event_id, hash) DO NOTHING;
