-- The journal holds these events, content and all: their publishing ends.
UPDATE ledger.outbox SET confirmed_at = clock_timestamp()
 WHERE event_id = ANY(CAST(:event_ids AS uuid[])) AND confirmed_at IS NULL
