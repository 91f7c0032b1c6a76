-- Forget events that the journal has held for so long; what is still on its way stays however old it is.
DELETE FROM ledger.outbox
 WHERE event_id = ANY(ARRAY(
     SELECT event_id FROM ledger.outbox
      WHERE confirmed_at < clock_timestamp() - make_interval(secs => :kept_seconds)
      LIMIT :limit))
