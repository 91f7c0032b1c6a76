"""What attempts left behind that were killed or lost their lease: adapters that no run shows, checkpoints of no use."""

from itertools import islice
from pathlib import Path

from sqlalchemy import Engine

from oncetune.artifacts.folder import attempts_with_adapters, discard, runs_with_artifacts
from oncetune.contracts.run import RunState
from oncetune.ledger.reads import standing_of
from oncetune.logs import log
from oncetune.postgres import transaction
from oncetune.trainer.checkpoints import clear_checkpoints


def sweep(engine: Engine, root: Path, *, batch: int) -> None:
    """Look at every run that has something in `root`, `batch` of them in a transaction; never at all of them at once.

    Any number of trainers may do this at once, beside any attempts: what is taken away was given up for ever, since
    attempts only rise and an ended run stays as it is. Runs that the ledger does not know are left alone. Raises
    sqlalchemy's errors while the database is away.
    """
    found = runs_with_artifacts(root)
    while some := list(islice(found, batch)):
        with transaction(engine) as session:
            runs = standing_of(session, some)
        for run_id, state, newest in runs:
            clear_checkpoints(root, run_id, state)
            for attempt in attempts_with_adapters(root, run_id):
                if attempt < newest or (attempt == newest and not _may_publish(state)):
                    discard(root, run_id, attempt)
                    log.info("adapter.swept", run_id=str(run_id), attempt=attempt)


def _may_publish(state: RunState) -> bool:
    """Whether the newest attempt of a run in this state has an adapter that is shown, or may be soon."""
    return state in (RunState.RUNNING, RunState.COMPLETED)
