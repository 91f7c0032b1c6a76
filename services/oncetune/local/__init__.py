"""One machine (`oncetune up`): Postgres from a wheel, sidecars and a broker or the direct hand-over, all services.

`preflight` says what is missing before anything starts, `cluster` and `postgres_server` keep the database,
`processes` starts, watches and stops programs, `up` puts them together, `guide` tells a person what to do next.

Nothing here is left behind: a signal only sets a flag that every wait looks at, so no program starts unseen, and on
Linux the kernel ends each program when this process is killed.
"""
