-- Take a caller's request key, or take it over once it has expired. An equal request in flight is waited for as long
-- as `patience` says, then 55P03 is raised; the row comes from there, so it is set before any wait.
-- No row back: somebody holds it; a new statement (its snapshot is newer) tells who.
WITH patience AS MATERIALIZED (SELECT set_config('lock_timeout', '5s', true))
INSERT INTO ledger.request_key (user_id, key, fingerprint, run_id, expires_at)
SELECT :user_id, :key, :fingerprint, :run_id, clock_timestamp() + make_interval(secs => :ttl_seconds) FROM patience
ON CONFLICT (user_id, key) DO UPDATE
   SET fingerprint = excluded.fingerprint, run_id = excluded.run_id, expires_at = excluded.expires_at
 WHERE ledger.request_key.expires_at <= clock_timestamp()
RETURNING run_id
