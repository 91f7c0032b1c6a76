-- Equal users take turns until their transaction ends: whoever counts their runs in a later statement sees them all.
SELECT pg_advisory_xact_lock(hashtextextended(:user_id, 0))
