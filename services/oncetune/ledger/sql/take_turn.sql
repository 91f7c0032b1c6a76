-- Equal takers (a user, a run) wait for each other until their transaction ends: whoever counts what is theirs in a
-- later statement sees it all.
SELECT pg_advisory_xact_lock(hashtextextended(:taker, 0))
