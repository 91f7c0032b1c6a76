"""What is of no use any more: adapters that no run shows, checkpoints, and results whose time is over."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from threading import Event
from uuid import UUID

from sqlalchemy import Engine

from oncetune.artifacts.checkpoints import sweep_checkpoints
from oncetune.artifacts.folder import FolderStore
from oncetune.artifacts.store import ResultStore
from oncetune.contracts.run import RunState
from oncetune.ledger.reads import Standing, standing_of
from oncetune.ledger.sweep import retire_results
from oncetune.logs import log
from oncetune.postgres import transaction
from oncetune.trainer.checkpoints import clear_checkpoints


def sweep(
    engine: Engine,
    store: ResultStore,
    checkpoints: Path,
    *,
    batch: int,
    kept: timedelta | None = None,
    stop: Event | None = None,
) -> None:
    """Look at every run that has something there, `batch` of them in a transaction; never at all of them at once.

    Any number of trainers may do this at once, beside any attempts: what is taken away was given up for ever, since
    attempts only rise and an ended run stays as it is. Runs that the ledger does not know are left alone. Results of
    runs that ended longer than `kept` ago are marked in the ledger first, then taken away by this sweep or the next.
    Raises sqlalchemy's errors while the database is away, OSError while the store is. Once `stop` is set no further
    run is begun.
    """
    stop = stop or Event()
    if kept is not None:
        _retire(engine, batch=batch, kept=kept)
    for run, attempts in _standing(engine, store.places(), batch, stop):
        _sweep_results(store, run, attempts)
    for run, _ in _standing(engine, FolderStore(checkpoints).places(), batch, stop):
        if run.retired:
            sweep_checkpoints(checkpoints, run.run_id)
        else:
            clear_checkpoints(checkpoints, run.run_id, run.state)


def _retire(engine: Engine, *, batch: int, kept: timedelta) -> None:
    while True:
        with transaction(engine) as session:
            retired = retire_results(session, limit=batch, kept=kept)
        if retired:
            log.info("results.retired", runs=retired)
        if retired < batch:
            return


def _standing(
    engine: Engine, places: Iterator[tuple[UUID, set[int]]], batch: int, stop: Event
) -> Iterator[tuple[Standing, set[int]]]:
    while not stop.is_set() and (some := dict(islice(places, batch))):
        with transaction(engine) as session:
            runs = standing_of(session, list(some))
        for run in runs:
            if stop.is_set():
                return
            yield run, some[run.run_id]


def _sweep_results(store: ResultStore, run: Standing, attempts: set[int]) -> None:
    if run.retired:
        store.remove(run.run_id)
        log.info("results.removed", run_id=str(run.run_id))
        return
    for attempt in attempts:
        if attempt < run.attempt or (attempt == run.attempt and not _may_publish(run.state)):
            store.discard(run.run_id, attempt)
            log.info("adapter.swept", run_id=str(run.run_id), attempt=attempt)


def _may_publish(state: RunState) -> bool:
    """Whether the newest attempt of a run in this state has an adapter that is shown, or may be soon."""
    return state in (RunState.RUNNING, RunState.COMPLETED)
