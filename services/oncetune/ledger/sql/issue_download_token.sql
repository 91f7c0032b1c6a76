-- Keep the hash of a new token, by the database's clock.
-- No row back: the run has :limit tokens already that nobody has used yet. The caller holds the
-- turn of the run, taken by a statement before: this one's snapshot has whatever was committed.
INSERT INTO ledger.download_token (sha256, run_id, issued_to, expires_at)
SELECT :sha256, :run_id, :issued_to, clock_timestamp() + make_interval(secs => :lifetime_seconds)
 WHERE :limit > (SELECT count(*) FROM ledger.download_token
                  WHERE run_id = :run_id AND used_at IS NULL AND expires_at > clock_timestamp())
RETURNING expires_at
