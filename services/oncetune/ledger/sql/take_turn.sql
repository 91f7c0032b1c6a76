-- Wait for the user's earlier requests to end: what is counted afterwards, by a new statement, holds their runs.
-- First the key's patience ends, so that 55P03 (lock_not_available) speaks of the key alone.
SELECT set_config('lock_timeout', '0', true), pg_advisory_xact_lock(hashtextextended(:user_id, 0))
