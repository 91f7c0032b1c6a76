"""The truth about runs: schema `ledger`. Nothing else writes it.

The protocol, in the order of a run's life. Each guarded write is one statement in `sql/`, raced on a real Postgres.

1. `claim_key` takes the caller's request key; then `record_run` writes the run and its `run.requested` in one
   statement; the dataset comes last. All three are one transaction: a refusal of any leaves nothing behind.
   A run of a URL has no dataset yet: `store_fetched_dataset` keeps the rows and ties them to the run, once.
2. `claim_run` leases a queued run to one trainer and raises `attempt`, the fence.
3. `renew_lease`, `finish_run` and `end_lease` carry that attempt in their WHERE: whoever lost it changes nothing.
   No row back means *unknown*, not lost: the run's `ended_by` tells.
4. Every change of a run raises its `position` by one and writes that event into the outbox, in the same statement.
5. `take_events` books the next try of an event before it is published, and only `confirm_events` ends its tries:
   when the journal holds the same content under the same id.

The database's clock is the only judge of leases. Nothing here commits: the caller's transaction does.
"""
