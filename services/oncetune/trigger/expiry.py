"""The loop that ends expired leases: it needs no trainer alive."""

import threading
import time

from sqlalchemy import Engine

from oncetune.ledger.leases import TRIGGER, EndReason, StrikeRule, end_lease, expired_leases
from oncetune.logs import about, log
from oncetune.postgres import DATABASE_AWAY, transaction


def expire_once(engine: Engine, rule: StrikeRule) -> int:
    """End every expired lease, each in a transaction of its own; how many ended."""
    with transaction(engine) as session:
        candidates = expired_leases(session)
    ended = 0
    for run_id, attempt in candidates:
        with about(run_id=str(run_id)), transaction(engine) as session:
            state = end_lease(session, run_id, attempt, reason=EndReason.EXPIRED, rule=rule, source=TRIGGER)
            if state is not None:
                ended += 1
                log.warning("lease.expired", attempt=attempt, state=state.value)
    return ended


def expire(engine: Engine, rule: StrikeRule, *, stop: threading.Event, every: float) -> None:
    """The loop, each `every` seconds until `stop`.

    After the database was away it looks once without judging: the trainers, who could not renew either, go first.
    """
    last_success: float | None = None
    while not stop.is_set():
        try:
            if last_success is not None and time.monotonic() - last_success < every + 1:
                expire_once(engine, rule)
            else:
                with transaction(engine) as session:
                    expired_leases(session)
            last_success = time.monotonic()
        except DATABASE_AWAY as error:
            log.warning("expiry.waits", reason=type(error).__name__)
            last_success = None
        except Exception:  # the outermost loop: a bug is shouted about, and the other leases are still looked at
            log.exception("expiry.broken")
        stop.wait(every)
