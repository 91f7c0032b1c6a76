-- Forget request keys an hour after they expired: by then nobody is between two statements about one of them.
DELETE FROM ledger.request_key
 WHERE ctid = ANY(ARRAY(
     SELECT ctid FROM ledger.request_key WHERE expires_at < clock_timestamp() - interval '1 hour' LIMIT :limit))
   AND expires_at < clock_timestamp() - interval '1 hour'
