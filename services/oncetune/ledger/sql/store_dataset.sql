-- Keep a dataset under its hash, in compressed pieces of at most 1 MiB. The update touches a known one, so that no
-- sweep takes it away meanwhile; its pieces are there already (xmax is 0 only in a row that was just inserted).
WITH named AS (
    INSERT INTO ledger.dataset (sha256, row_count, byte_count)
    VALUES (:sha256, :row_count, :byte_count)
    ON CONFLICT (sha256) DO UPDATE SET used_at = clock_timestamp()
    RETURNING sha256, (xmax = 0) AS fresh
)
INSERT INTO ledger.dataset_chunk (sha256, number, content)
SELECT named.sha256, chunk.number - 1, chunk.content
  FROM named, unnest(CAST(:chunks AS bytea[])) WITH ORDINALITY AS chunk (content, number)
 WHERE named.fresh
