"""A faultless history, made by the product's own statements, and ways to spoil it for tests/chaos/test_oracle.py."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, Row, text

from oncetune.contracts.envelope import open_envelope
from oncetune.contracts.preferences import PackedRows, PreferencePair
from oncetune.contracts.progress import Progress
from oncetune.contracts.recipe import TrainingRecipe
from oncetune.datasets.packing import pack_rows
from oncetune.ledger.datasets import store_fetched_dataset
from oncetune.ledger.ids import new_event_id
from oncetune.ledger.leases import EndReason, Lease, StrikeRule, end_lease, finish_run, renew_lease
from oncetune.ledger.outbox import Pace, confirm_events, take_events
from oncetune.ledger.requests import KeptRows, accept, request_cancel
from oncetune.postgres import connect, transaction
from oncetune.status.journal import append_events
from oncetune.trainer.publishing import recorded
from tests.artifacts.given import publish_adapter
from tests.chaos.case import Case
from tests.chaos.client_journal import ClientJournal, read_client_journal
from tests.chaos.dataset_rules import LEARNED_FROM
from tests.chaos.evidence import Places, gather
from tests.chaos.oracle import verdict
from tests.datasets.unpacking import unpack_rows
from tests.ledger.given import MINUTE, ROWS, claim, of_url, record, record_url, run_of

PACE = Pace()
OF_URL = pack_rows([PreferencePair(prompt="What is 2 + 2?", chosen="Four.", rejected="Five.")])
STEP = Progress(step=1, steps=4, loss=0.5)
ENDS = {"failed": "refuse", "cancelled": "cancel"}  # what was wished, by kb_id; the others were to finish


@dataclass
class History:
    """A database, a client's journal and a folder of artifacts: what a test may spoil."""

    url: str
    journal: Path
    artifacts: Path
    earlier: dict[object, str]

    @property
    def served(self) -> Path:
        return self.journal.with_name("served.jsonl")

    @property
    def staging(self) -> Path:
        return self.journal.with_name("staging")

    @property
    def places(self) -> Places:
        return Places(self.artifacts, [self.staging], self.served)

    def case(self) -> Case:
        return Case(read_client_journal(self.journal), gather(self.url, self.places), self.earlier)

    def broken(self) -> set[str]:
        return {one.rule for one in verdict(self.case())}

    def spoil(self, sql: str) -> None:
        """As the owner of everything, with every trigger and constraint that stands in the way put aside."""
        engine = connect(self.url, role=None, pool_size=0)
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL session_replication_role = 'replica'"))
            assert connection.execute(text(sql)).rowcount > 0

    def ask(
        self,
        kb_id: str,
        status: int | None,
        run_id: str | None = None,
        *,
        retry_after: str | None = None,
        parent: str | None = None,
    ) -> None:
        """The client sends, and is told (or not: `status=None`)."""
        with ClientJournal(self.journal) as client:
            key, end, by_url = f"key-{kb_id}-{parent}", ENDS.get(kb_id, "finish"), kb_id == "of-url" and parent is None
            exchange = client.sends(key, kb_id, end=end, by_url=by_url, parent=parent)
            if status is not None:
                client.was_told(exchange, status, run_id, retry_after=retry_after)


def _completes(owner: Engine, artifacts: Path, lease: Lease, rows: PackedRows = ROWS) -> None:
    adapter = artifacts / "made" / str(lease.run_id)
    adapter.mkdir(parents=True)
    (adapter / "weights").write_text(str(lease.run_id))
    (adapter / Path(LEARNED_FROM).name).write_bytes(unpack_rows(rows.chunks, sha256=rows.sha256))
    archive = adapter.with_suffix(".tar")
    archive.write_text("as one file")
    published = publish_adapter(artifacts, lease.run_id, lease.attempt, adapter, adapter_tar=archive)
    with transaction(owner) as session:
        renew_lease(session, lease, progress=STEP, as_event=True)
        finish_run(
            session, lease, event_id=new_event_id(), state="completed", metrics={"loss": 0.1},
            artifact_uri=published.uri, adapter_sha256=published.adapter_sha256, files=recorded(published.files),
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


def _completes_of_url(owner: Engine, history: History) -> None:
    """And once more."""
    history.served.write_text("".join(f'["of-url", "{sha256}"]\n' for sha256 in ("a" * 64, OF_URL.sha256)))
    run_id = record_url(owner, "of-url")
    history.ask("of-url", 200, str(run_id))
    lease = claim(owner, run_id=run_id)
    assert lease
    with transaction(owner) as session:
        store_fetched_dataset(session, lease, OF_URL)
    _completes(owner, history.artifacts, lease, OF_URL)
    again = _record_again(owner, run_of(owner, run_id))
    history.ask("of-url", 200, str(again), parent=str(run_id))
    lease = claim(owner, run_id=again)
    assert lease
    _completes(owner, history.artifacts, lease, OF_URL)


def _record_again(owner: Engine, parent: Row[Any]) -> UUID:
    rows = KeptRows(parent.dataset_sha256, OF_URL.row_count, parent.dataset_format)
    recipe = TrainingRecipe.model_validate(parent.recipe)
    request = replace(of_url(parent.kb_id), recipe=recipe, rows=rows, parent_run_id=parent.id)
    with transaction(owner) as session:
        answer = accept(session, request, key=None, fingerprint="body", key_lifetime=MINUTE, runs_per_minute=10_000)
    return answer.run_id


def write_history(owner: Engine, history: History) -> None:
    """One of each: completed at the second attempt, and of a URL, and this once more; failed, cancelled, refused,
    unknown with a run and without.
    """
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
    _completes_of_url(owner, history)
    history.ask("completed", 200, str(history.case().evidence.runs[0]["id"]))  # a replay
    history.ask("refused", 429, retry_after="5")
    history.ask("lost", None)
    _journals(owner)
