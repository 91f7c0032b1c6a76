"""What status tells of the database at a scrape, and of the runs whose events it journals."""

from collections.abc import Sequence

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from oncetune.contracts.envelope import Envelope
from oncetune.contracts.run import TERMINAL
from oncetune.logs import log
from oncetune.postgres import statement, transaction
from oncetune.telemetry import Standing, count_end, observe_duration, observe_queue

_ENDS = {f"run.{state.value}": state.value for state in TERMINAL}
_TIMES = text(
    "SELECT id, extract(epoch FROM started_at - created_at) AS waited, extract(epoch FROM finished_at - started_at)"
    " AS took FROM ledger.run WHERE id = ANY(CAST(:run_ids AS uuid[])) AND started_at IS NOT NULL"
)


def measure(engine: Engine) -> Standing:
    """How the ledger and the dead letters stand; raises sqlalchemy's errors."""
    with transaction(engine) as session:
        row = session.execute(statement("status", "measure")).one()
    return Standing(
        queued=row.queued,
        running=row.running,
        outbox_pending=row.outbox_pending,
        outbox_oldest_seconds=float(row.outbox_oldest_seconds),
        dead_letters=row.dead_letters,
    )


def measure_runs(engine: Engine, journalled: Sequence[Envelope]) -> None:
    """Count the runs that these entries, new in the journal, end; observe how long those took and others waited.

    The journal takes each event once, so each run is measured once, by whichever replica wrote its entry. An absent
    database costs the times and never the answer to a delivery.
    """
    ended = {event.run_id for event in journalled if event.type in _ENDS}
    started = {event.run_id for event in journalled if _starts_a_run(event)}
    for event in journalled:
        if event.type in _ENDS:
            count_end(_ENDS[event.type])
    if not ended | started:
        return
    try:
        with transaction(engine) as session:
            session.execute(text("SET LOCAL statement_timeout = '500ms'"))
            times = session.execute(_TIMES, {"run_ids": list(ended | started)}).all()
    except (DBAPIError, PoolTimeout) as error:
        log.warning("run.unmeasured", reason=type(error).__name__, runs=len(ended | started))
        return
    for run in times:
        if run.id in started:
            observe_queue(float(run.waited))
        if run.id in ended and run.took is not None:
            observe_duration(float(run.took))


def _starts_a_run(event: Envelope) -> bool:
    """Later attempts of the run have waited for something else."""
    data = event.document["data"]
    return event.type == "run.started" and isinstance(data, dict) and data.get("attempt") == 1
