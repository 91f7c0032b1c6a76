-- Take the events that are due and book their next try: no lock is held while they are published.
-- New events enter only while fewer than :window are on their way, so that an hour's outage is not republished
-- in every pass; events that needed :stuck_after publishes wait in a slow lane outside the window.
WITH on_their_way AS (
    SELECT count(*) AS events FROM (
        SELECT FROM ledger.outbox
         WHERE confirmed_at IS NULL AND publishes BETWEEN 1 AND :stuck_after - 1
         LIMIT :window) AS unconfirmed
), due AS (
    SELECT event_id FROM ledger.outbox
     WHERE confirmed_at IS NULL AND publish_after <= clock_timestamp()
       AND (publishes > 0 OR (SELECT events FROM on_their_way) < :window)
     ORDER BY publish_after
     LIMIT :batch
       FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE ledger.outbox AS event
   SET publishes = event.publishes + 1,
       publish_after = clock_timestamp() + make_interval(secs =>
           :deadline_seconds + (0.5 + random()) * LEAST(
               CASE WHEN event.publishes + 1 >= :stuck_after THEN :slow_seconds ELSE :max_backoff_seconds END,
               :backoff_seconds * power(2, LEAST(event.publishes, 20))))
  FROM due
 WHERE event.event_id = due.event_id
RETURNING event.event_id, event.run_id, event.position, event.type, event.source, event.traceparent,
          event.payload, event.occurred_at, event.publishes
