-- Take a caller's request key, or take it over once it has expired; then wait for the user's turn (see take_turn).
-- An equal request in flight is waited for as long as `patience` says, then 55P03 is raised. The row comes from
-- there, so it is set before any wait; it ends before the turn is waited for, so 55P03 speaks of the key alone.
-- No row back: somebody holds it; a new statement (its snapshot is newer) tells who. No turn is taken then.
WITH patience AS MATERIALIZED (SELECT set_config('lock_timeout', '5s', true))
INSERT INTO ledger.request_key (user_id, key, fingerprint, run_id, expires_at)
SELECT :user_id, :key, :fingerprint, :run_id, clock_timestamp() + make_interval(secs => :ttl_seconds) FROM patience
ON CONFLICT (user_id, key) DO UPDATE
   SET fingerprint = excluded.fingerprint, run_id = excluded.run_id, expires_at = excluded.expires_at
 WHERE ledger.request_key.expires_at <= clock_timestamp()
RETURNING set_config('lock_timeout', '0', true), pg_advisory_xact_lock(hashtextextended(user_id, 0))
