-- Mark runs that ended so long ago: from now on nobody is shown their results or a checkpoint. What lies in the artifacts
-- is taken away after this: a crash in between leaves marked runs, which every sweep takes up.
-- now(), not clock_timestamp(): no index can be searched for what changes from row to row.
UPDATE ledger.run
   SET files_removed_at = clock_timestamp(), checkpoint_step = NULL
 WHERE id = ANY(ARRAY(
     SELECT id FROM ledger.run
      WHERE finished_at < now() - make_interval(secs => :kept_seconds) AND files_removed_at IS NULL
      ORDER BY finished_at
      LIMIT :limit
        FOR NO KEY UPDATE SKIP LOCKED))
