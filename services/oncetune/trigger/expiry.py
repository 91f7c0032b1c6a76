"""The loop that ends expired leases: it needs no trainer alive."""

import threading
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from oncetune.ledger.leases import TRIGGER, EndReason, StrikeRule, database_time, end_lease, expired_leases
from oncetune.logs import Outage, log
from oncetune.postgres import DATABASE_AWAY, transaction

UNNOTICED_GAP = timedelta(seconds=2)  # beyond the pause between two looks; a small part of a lease


def expire_once(engine: Engine, rule: StrikeRule, *, watched: timedelta, batch: int) -> int:
    """End up to `batch` expired leases that are not longer than `watched`, each in a transaction of its own.

    How many ended; as many as `batch` means that there may be more.
    """
    with transaction(engine) as session:
        candidates = expired_leases(session, watched=watched, limit=batch)
    ended = 0
    for run_id, attempt in candidates:
        with transaction(engine) as session:
            state = end_lease(session, run_id, attempt, reason=EndReason.EXPIRED, rule=rule, source=TRIGGER)
        if state is not None:
            ended += 1
            log.warning("lease.expired", run_id=str(run_id), attempt=attempt, state=state.value)
    return ended


def expire(engine: Engine, rule: StrikeRule, *, batch: int, stop: threading.Event, every: float) -> None:
    """The loop, each `every` seconds until `stop`, and again at once after a full batch.

    It judges a lease only when it has looked on, without a gap by the database's clock, for as long as that lease
    lasts: after the database, this process or the whole machine was away, the trainers, who could not renew either,
    go first.
    """
    since: datetime | None = None
    last = datetime.min.replace(tzinfo=UTC)
    outage = Outage(away="expiry.waits", back="expiry.resumed")
    while not stop.is_set():
        try:
            with transaction(engine) as session:
                now = database_time(session)
            if since is None or now - last > timedelta(seconds=every) + UNNOTICED_GAP:
                since = now
            last = now
            ended = expire_once(engine, rule, watched=now - since, batch=batch)
            outage.over()
            if ended == batch:
                continue
        except DATABASE_AWAY as error:
            outage.goes_on(error)
            since = None
        except Exception:  # noqa: BLE001 - the outermost loop: a bug is shouted about, and looked past
            log.exception("expiry.broken")
        stop.wait(every)
