-- What /metrics tells of the database, in one bounded look: each part stops at 10000 rows of an index.
-- A run's event is pending until the journal holds it; beyond the limit its age is that of the oldest of the next due.
WITH pending AS (
    SELECT occurred_at FROM ledger.outbox WHERE confirmed_at IS NULL ORDER BY publish_after LIMIT 10000
), letters AS (
    SELECT topic, sha256 FROM audit.dead_letter ORDER BY received_at DESC, sha256 DESC, topic DESC LIMIT 10000
)
SELECT (SELECT count(*) FROM (SELECT FROM ledger.run WHERE state = 'queued' LIMIT 10000) AS waiting) AS queued,
       (SELECT count(*) FROM (SELECT FROM ledger.run WHERE state = 'running' LIMIT 10000) AS leased) AS running,
       (SELECT count(*) FROM pending) AS outbox_pending,
       (SELECT GREATEST(0, extract(epoch FROM clock_timestamp() - min(occurred_at))) FROM pending) AS outbox_oldest_seconds,
       (SELECT count(*) FROM letters
         WHERE NOT EXISTS (SELECT FROM audit.dead_letter_decision AS decided
                            WHERE decided.topic = letters.topic AND decided.sha256 = letters.sha256)) AS dead_letters
