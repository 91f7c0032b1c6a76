"""Runs and leases for tests, made the way the services make them."""

from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import Engine, Row, text

from oncetune.contracts.preferences import PackedRows, PreferencePair
from oncetune.contracts.recipe import TrainingRecipe
from oncetune.datasets.packing import pack_rows
from oncetune.ledger.leases import Lease, claim_run
from oncetune.ledger.requests import RequestAnswer, RunRequest, accept
from oncetune.postgres import transaction

MINUTE = timedelta(minutes=1)
NOTHING = timedelta(0)
ROWS = pack_rows([PreferencePair(prompt="What is 1 + 1?", chosen="Two.", rejected="Three.")])

ADAPTER = {"artifact_uri": "file:///adapter", "adapter_sha256": "a" * 64, "metrics": {"loss": 0.5}}


URL, SHOWN_URL = "https://example.org/rows.jsonl?signature=secret", "https://example.org/rows.jsonl"


def of_url(kb_id: str = "kb", url: str = URL) -> RunRequest:
    """A request whose rows somebody has to fetch."""
    recipe = TrainingRecipe(base_model="toy")
    return RunRequest("ann", kb_id, "experiment", "zephyr", recipe, dataset_url=url, shown_url=SHOWN_URL)


def record_url(engine: Engine, kb_id: str = "kb", url: str = URL) -> UUID:
    with transaction(engine) as session:
        answer = accept(
            session, of_url(kb_id, url), key=None, fingerprint="body", key_lifetime=MINUTE, runs_per_minute=10_000
        )
    return answer.run_id


def wanted(kb_id: str = "kb", user_id: str = "ann", rows: PackedRows = ROWS) -> RunRequest:
    recipe = TrainingRecipe(base_model="toy", dataset_sha256=rows.sha256)
    return RunRequest(user_id, kb_id, "experiment", "zephyr", recipe, rows)


def record(
    engine: Engine,
    kb_id: str = "kb",
    *,
    key: str | None = None,
    fingerprint: str = "body",
    user_id: str = "ann",
    key_lifetime: timedelta = MINUTE,
    rows: PackedRows = ROWS,
) -> RequestAnswer:
    request = wanted(kb_id, user_id, rows)
    with transaction(engine) as session:
        return accept(
            session, request, key=key, fingerprint=fingerprint, key_lifetime=key_lifetime, runs_per_minute=10_000
        )


def claim(
    engine: Engine, worker: str = "worker", *, lasting: timedelta = MINUTE, run_id: UUID | None = None,
    claim_id: UUID | None = None,
) -> Lease | None:  # fmt: skip
    with transaction(engine) as session:
        return claim_run(session, worker=worker, claim_id=claim_id or uuid4(), duration=lasting, run_id=run_id)


def change(owner: Engine, sql: str, **parameters: object) -> None:
    """What only time or an accident does to rows: let a lease be over, make an event due, spoil a chunk."""
    with transaction(owner) as session:
        session.execute(text(sql), parameters)


def rows_of(owner: Engine, sql: str, **parameters: object) -> list[Row]:
    with transaction(owner) as session:
        return list(session.execute(text(sql), parameters).all())


def run_of(owner: Engine, run_id: UUID) -> Row:
    return rows_of(owner, "SELECT * FROM ledger.run WHERE id = :id", id=run_id)[0]


def trail_of(owner: Engine, run_id: UUID) -> list[tuple[int, str]]:
    """Position and type of each event that the ledger wrote, in their order."""
    trail = rows_of(owner, "SELECT position, type FROM ledger.outbox WHERE run_id = :id ORDER BY position", id=run_id)
    return [(row.position, row.type) for row in trail]


def count(owner: Engine, table: str) -> int:
    return int(rows_of(owner, f"SELECT count(*) FROM {table}")[0][0])


def lock_waits(owner: Engine) -> list[str]:
    """What the connections of this database wait for: `transactionid`, `advisory` …, sorted."""
    waiting = "SELECT wait_event FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return sorted(row.wait_event for row in rows_of(owner, waiting))
