"""What an attempt leaves for others: its result, or at least its log, in the store of results."""

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

from oncetune.artifacts.archive import write_archive
from oncetune.artifacts.folder import check_adapter, files_below
from oncetune.artifacts.store import ADAPTER, ARCHIVE_NAME, LOG_NAME, Files, Published, ResultStore
from oncetune.contracts.run_report import RESULTS_FOLDER
from oncetune.ledger.leases import Lease, StoredFiles
from oncetune.logs import log

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 30.0  # between two tries to store a result


class NotPublished(Exception):
    """The store refused for too long; says why."""


def publish(
    store: ResultStore, lease: Lease, folder: Path, *, grace: timedelta, must_stop: Callable[[float], bool]
) -> Published | None:
    """Store what lies in the attempt's folder; while the store refuses, again and again for `grace`.

    `must_stop(seconds)` waits so long, and answers True at once when the attempt is to end: then None is returned.
    Raises BrokenAdapter, which no store would take, and NotPublished.
    """
    check_adapter(folder / ADAPTER)
    end, pause = time.monotonic() + grace.total_seconds(), _FIRST_PAUSE_SECONDS
    while True:
        try:
            return store.publish(lease.run_id, lease.attempt, _result(folder))
        except OSError as error:
            log.warning("adapter.not_stored", attempt=lease.attempt, reason=reason_of(error))
            left = end - time.monotonic()
            if left <= 0:
                raise NotPublished(f"The adapter could not be stored: {reason_of(error)}") from error
        if must_stop(min(pause, left)):
            return None
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _result(folder: Path) -> dict[str, Path]:
    """Every file of the result by its name in the store."""
    write_archive(folder / ADAPTER, folder / ARCHIVE_NAME)
    adapter = {ADAPTER + name: path for name, path in files_below(folder / ADAPTER).items()}
    beside = {name: path for name, path in files_below(folder / RESULTS_FOLDER).items() if "/" not in name}
    training_log = folder / LOG_NAME
    return {
        **adapter,
        ARCHIVE_NAME: folder / ARCHIVE_NAME,
        **beside,
        **({LOG_NAME: training_log} if training_log.exists() else {}),
    }


def keep_log(store: ResultStore, lease: Lease, folder: Path) -> Files:
    """Keep the log of an attempt without a result. A store that refuses costs the log, not the attempt."""
    training_log = folder / LOG_NAME
    try:
        return store.keep_log(lease.run_id, lease.attempt, training_log) if training_log.exists() else {}
    except OSError as error:
        log.warning("log.not_kept", reason=reason_of(error))
        return {}


def discard(store: ResultStore, lease: Lease) -> None:
    """Take back what was published for a lease that is lost; what refuses is left to the sweep."""
    try:
        store.discard(lease.run_id, lease.attempt)
    except OSError as error:
        log.warning("adapter.not_discarded", attempt=lease.attempt, reason=reason_of(error))


def recorded(files: Files) -> StoredFiles | None:
    """As the ledger keeps them."""
    return {name: asdict(file) for name, file in files.items()} or None


def reason_of(error: OSError) -> str:
    """What the system said; shutil.Error speaks for several files: of the first one."""
    if isinstance(error, shutil.Error):
        return str(error.args[0][0][2])[:300]
    return error.strerror or str(error)[:300]
