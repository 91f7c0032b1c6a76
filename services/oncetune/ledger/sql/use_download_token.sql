-- Use a token up, once: of any number of equal callers one gets the row, the others wait for it and find it used.
-- No row back: unknown, expired or used.
UPDATE ledger.download_token SET used_at = clock_timestamp()
 WHERE sha256 = :sha256 AND used_at IS NULL AND expires_at > clock_timestamp()
RETURNING run_id
