-- Forget request keys an hour after they expired: by then nobody is between two statements about one of them.
DELETE FROM ledger.request_key
 WHERE ctid = ANY(ARRAY(
     SELECT ctid FROM ledger.request_key WHERE expires_at < now() - interval '1 hour'
      ORDER BY expires_at
      LIMIT :limit))
   AND expires_at < now() - interval '1 hour'
