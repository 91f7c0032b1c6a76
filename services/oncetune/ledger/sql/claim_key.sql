-- Take a caller's request key, or take it over once it has expired.
-- No row back: somebody holds it; a new statement (its snapshot is newer) tells who.
INSERT INTO ledger.request_key (user_id, key, fingerprint, run_id, expires_at)
VALUES (:user_id, :key, :fingerprint, :run_id, clock_timestamp() + make_interval(secs => :ttl_seconds))
ON CONFLICT (user_id, key) DO UPDATE
   SET fingerprint = excluded.fingerprint, run_id = excluded.run_id, expires_at = excluded.expires_at
 WHERE ledger.request_key.expires_at <= clock_timestamp()
RETURNING run_id
