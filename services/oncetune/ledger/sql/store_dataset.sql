-- Name a dataset by its hash. The update touches a known one, so that no sweep takes it away meanwhile.
-- `fresh` is true for the writer that must also store the chunks.
INSERT INTO ledger.dataset (sha256, row_count, byte_count)
VALUES (:sha256, :row_count, :byte_count)
ON CONFLICT (sha256) DO UPDATE SET used_at = clock_timestamp()
RETURNING (xmax = 0) AS fresh
