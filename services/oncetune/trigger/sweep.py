"""The loop that keeps the ledger from growing for ever."""

import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from sqlalchemy import Engine
from sqlmodel import Session

from oncetune.ledger.sweep import sweep_download_tokens, sweep_outbox, sweep_request_keys
from oncetune.logs import Outage, log
from oncetune.postgres import DATABASE_AWAY, transaction


def sweep_once(engine: Engine, *, outbox_kept: timedelta, batch: int, stop: threading.Event) -> dict[str, int]:
    """Forget what is due, `batch` rows in a transaction; how many rows of each table went."""
    due: dict[str, Callable[[Session], int]] = {
        "request_keys": partial(sweep_request_keys, limit=batch),
        "outbox": partial(sweep_outbox, limit=batch, kept=outbox_kept),
        "downloads": partial(sweep_download_tokens, limit=batch),
    }
    return {table: _sweep(engine, some, batch, stop) for table, some in due.items()}


def _sweep(engine: Engine, some: Callable[[Session], int], batch: int, stop: threading.Event) -> int:
    swept = 0
    while not stop.is_set():
        with transaction(engine) as session:
            gone = some(session)
        swept += gone
        if gone < batch:
            break
    return swept


def sweep(engine: Engine, *, outbox_kept: timedelta, batch: int, stop: threading.Event, every: float) -> None:
    """The loop, each `every` seconds until `stop`; an absent database is waited for."""
    outage = Outage(away="sweep.waits", back="sweep.resumed")
    while not stop.is_set():
        try:
            swept = sweep_once(engine, outbox_kept=outbox_kept, batch=batch, stop=stop)
            if any(swept.values()):
                log.info("ledger.swept", **swept)
            outage.over()
        except DATABASE_AWAY as error:
            outage.goes_on(error)
        except Exception:  # noqa: BLE001 - the outermost loop: a bug is shouted about, and looked past
            log.exception("sweep.broken")
        stop.wait(every)
