-- How long a user has to wait until fewer than :limit runs of the last minute are theirs; no row: not at all.
-- The caller holds the user's advisory lock, taken by a statement before: this one sees whatever was committed.
SELECT CAST(ceil(60 - extract(epoch FROM clock_timestamp() - created_at)) AS integer) AS seconds
  FROM ledger.run
 WHERE user_id = :user_id AND created_at > clock_timestamp() - interval '60 s'
 ORDER BY created_at DESC
OFFSET :limit - 1
 LIMIT 1
