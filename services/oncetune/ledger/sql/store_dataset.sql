-- Keep a dataset under its hash, with the first of its compressed pieces of at most 1 MiB. A known one is updated, since
-- DO NOTHING would return no row of it, and it may lack the fingerprint of its set, which versions before did not make;
-- its pieces are there already (xmax is 0 only in a row that was just inserted). Equal datasets wait here for each other.
WITH named AS (
    INSERT INTO ledger.dataset AS kept (sha256, set_sha256, row_count, byte_count)
    VALUES (:sha256, :set_sha256, :row_count, :byte_count)
    ON CONFLICT (sha256) DO UPDATE
       SET used_at = clock_timestamp(), set_sha256 = COALESCE(kept.set_sha256, EXCLUDED.set_sha256)
    RETURNING sha256, (xmax = 0) AS fresh
), begun AS (
    INSERT INTO ledger.dataset_chunk (sha256, number, content)
    SELECT sha256, 0, :chunk FROM named WHERE fresh
)
SELECT fresh FROM named
