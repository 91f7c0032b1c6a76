"""A faultless history, made by the product's own statements, and ways to spoil it for tests/chaos/test_oracle.py."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, text

from oncetune.artifacts.folder import publish_adapter
from oncetune.contracts.envelope import open_envelope
from oncetune.contracts.progress import Progress
from oncetune.ledger.ids import new_event_id
from oncetune.ledger.leases import EndReason, Lease, StrikeRule, end_lease, finish_run, renew_lease
from oncetune.ledger.outbox import Pace, confirm_events, take_events
from oncetune.ledger.requests import request_cancel
from oncetune.postgres import connect, transaction
from oncetune.status.journal import append_events
from tests.chaos.client_journal import ClientJournal, read_client_journal
from tests.chaos.evidence import gather
from tests.chaos.oracle import Case, verdict
from tests.ledger.given import claim, record

PACE = Pace()
STEP = Progress(step=1, steps=4, loss=0.5)
ENDS = {"failed": "refuse", "cancelled": "cancel"}  # what was wished, by kb_id; the others were to finish


@dataclass
class History:
    """A database, a client's journal and a folder of artifacts: what a test may spoil."""

    url: str
    journal: Path
    artifacts: Path
    earlier: dict[object, str]

    def case(self) -> Case:
        return Case(read_client_journal(self.journal), gather(self.url, self.artifacts), self.earlier)

    def broken(self) -> set[str]:
        return {one.rule for one in verdict(self.case())}

    def spoil(self, sql: str) -> None:
        """As the owner of everything, with every trigger and constraint that stands in the way put aside."""
        engine = connect(self.url, role=None, pool_size=0)
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL session_replication_role = 'replica'"))
            assert connection.execute(text(sql)).rowcount > 0

    def ask(self, kb_id: str, status: int | None, run_id: str | None = None, *, retry_after: str | None = None) -> None:
        """The client sends, and is told (or not: `status=None`)."""
        with ClientJournal(self.journal) as client:
            exchange = client.sends(f"key-{kb_id}", kb_id, end=ENDS.get(kb_id, "finish"))
            if status is not None:
                client.was_told(exchange, status, run_id, retry_after=retry_after)


def _completes(owner: Engine, artifacts: Path, lease: Lease) -> None:
    adapter = artifacts / "made" / str(lease.run_id)
    adapter.mkdir(parents=True)
    (adapter / "weights").write_text(str(lease.run_id))
    published = publish_adapter(artifacts, lease.run_id, lease.attempt, adapter)
    with transaction(owner) as session:
        renew_lease(session, lease, progress=STEP, as_event=True)
        finish_run(
            session, lease, event_id=new_event_id(), state="completed", metrics={"loss": 0.1},
            artifact_uri=published.uri, adapter_sha256=published.sha256,
        )  # fmt: skip


def _ends(owner: Engine, lease: Lease, reason: EndReason) -> None:
    with transaction(owner) as session:
        end_lease(session, lease.run_id, lease.attempt, reason=reason, rule=StrikeRule(2))


def _journals(owner: Engine) -> None:
    with transaction(owner) as session:
        taken = take_events(session, PACE)
    with transaction(owner) as session:
        append_events(session, [open_envelope(event.document) for event in taken])
    with transaction(owner) as session:
        confirm_events(session, limit=500)


def write_history(owner: Engine, history: History) -> None:
    """One of each: completed at the second attempt, failed, cancelled, refused, unknown with a run and without."""
    for kb_id in ("completed", "failed", "cancelled", "unknown"):
        run_id = record(owner, kb_id).run_id
        if kb_id == "unknown":
            history.ask(kb_id, 503, retry_after="5")
        else:
            history.ask(kb_id, 200, str(run_id))
        if kb_id == "cancelled":
            with transaction(owner) as session:
                request_cancel(session, run_id, requested_by="ann")
            continue
        lease = claim(owner, run_id=run_id)
        assert lease
        if kb_id == "failed":
            with transaction(owner) as session:
                error = {"code": "poison", "message": "It cannot succeed."}
                finish_run(session, lease, event_id=new_event_id(), state="failed", error=error)
            continue
        _ends(owner, lease, EndReason.RELEASED)
        lease = claim(owner, run_id=run_id)
        assert lease
        _completes(owner, history.artifacts, lease)
    history.ask("completed", 200, str(history.case().evidence.runs[0]["id"]))  # a replay
    history.ask("refused", 429, retry_after="5")
    history.ask("lost", None)
    _journals(owner)
