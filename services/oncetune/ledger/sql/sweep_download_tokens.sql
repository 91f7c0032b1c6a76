-- Forget tokens that have expired, used or not: whoever brings one is answered as if it had never been.
DELETE FROM ledger.download_token
 WHERE sha256 = ANY(ARRAY(
     SELECT sha256 FROM ledger.download_token WHERE expires_at < now() ORDER BY expires_at LIMIT :limit))
