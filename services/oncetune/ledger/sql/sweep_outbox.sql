-- Forget events that the journal has held for so long; what is still on its way stays however old it is.
-- now(), not clock_timestamp(): no index can be searched for what changes from row to row.
DELETE FROM ledger.outbox
 WHERE event_id = ANY(ARRAY(
     SELECT event_id FROM ledger.outbox
      WHERE confirmed_at < now() - make_interval(secs => :kept_seconds)
      ORDER BY confirmed_at
      LIMIT :limit))
