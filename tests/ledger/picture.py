"""The picture that the state machine keeps of what must be true, and what is true at every moment, whatever happens."""

import json
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant
from sqlalchemy import Engine

from oncetune.contracts.envelope import read_envelope
from oncetune.contracts.run import MOVES, TERMINAL, RunState
from oncetune.ledger.leases import Lease
from oncetune.ledger.outbox import Pace, confirm_events, take_events
from oncetune.postgres import transaction
from oncetune.status.journal import Outcome, append_events
from tests.ledger.given import NOTHING, claim, rows_of
from tests.ledger.paths import make_due

PACE = Pace(batch=4, window=6, deadline=NOTHING, backoff=NOTHING, max_backoff=NOTHING, slow=NOTHING)
ENDS = {f"run.{state}": state for state in TERMINAL}


@dataclass(frozen=True)
class Engines:
    owner: Engine
    trigger: Engine
    trainer: Engine
    status: Engine


@dataclass
class Known:
    """The picture of one run; `cancel` once somebody asked."""

    state: RunState = RunState.QUEUED
    attempt: int = 0
    cancel: bool = False
    finishes: dict[UUID, RunState] = field(default_factory=dict)


class Picture(RuleBasedStateMachine):
    """Steps keep it up to date; it compares itself with the rows after each of them."""

    def __init__(self, engines: Engines) -> None:
        super().__init__()
        self.engines = engines
        self.runs: dict[UUID, Known] = {}
        self.keys: dict[str, tuple[str, UUID]] = {}
        self.leases: list[Lease] = []
        self.finishes: list[tuple[Lease, UUID, dict]] = []
        self.on_the_road: list[dict] = []

    def _one(self, data, these: list, likely: Callable):
        """One of `these`; every second time one of the `likely`, so that more happens than refusals."""
        chosen = [one for one in these if likely(one)] if data.draw(st.booleans()) else []
        return data.draw(st.sampled_from(chosen or these))

    def _waiting(self) -> bool:
        return any(run.state is RunState.QUEUED for run in self.runs.values())

    def _holds(self, lease: Lease) -> bool:
        run = self.runs[lease.run_id]
        return run.state is RunState.RUNNING and run.attempt == lease.attempt

    @contextmanager
    def _only_by_its_holder(self, lease: Lease):
        """A stale attempt changes nothing, whatever it does."""
        before = None if self._holds(lease) else self._rows(lease.run_id)
        yield
        assert before is None or self._rows(lease.run_id) == before, "a stale attempt changed its run"

    def _rows(self, run_id: UUID):
        owner = self.engines.owner
        return (
            rows_of(owner, "SELECT * FROM ledger.run WHERE id = :id", id=run_id),
            rows_of(owner, "SELECT event_id FROM ledger.outbox WHERE run_id = :id ORDER BY position", id=run_id),
        )

    def _moved(self, run: Known, state: RunState | None, allowed: set[RunState]) -> None:
        assert state in allowed
        assert state in MOVES[run.state]
        run.state = state

    def _publish(self, *, later: bool) -> None:
        if later:
            make_due(self.engines.owner)
        with transaction(self.engines.trigger) as session:
            self.on_the_road += [event.document for event in take_events(session, PACE)]

    def _journal(self, documents: list[dict]) -> None:
        bodies = [json.dumps({**document, "traceparent": str(uuid4()), "topic": "x"}) for document in documents]
        with transaction(self.engines.status) as session:
            outcomes = append_events(session, [read_envelope(body.encode()) for body in bodies])
        assert Outcome.CONFLICT not in outcomes

    def _confirm(self) -> None:
        with transaction(self.engines.trigger) as session:
            assert confirm_events(session).conflicting == {}

    # What is true at every moment

    @invariant()
    def every_run_is_as_the_picture_says_with_a_gapless_trail_that_tells_the_same(self):
        runs = rows_of(
            self.engines.owner,
            "SELECT run.id, kb_id, state, attempt, cancel_requested_at IS NOT NULL AS cancel, run.position,"
            " array_agg(outbox.position ORDER BY outbox.position) AS positions,"
            " array_agg(outbox.type ORDER BY outbox.position) AS types,"
            " array_agg((payload ->> 'attempt')::int ORDER BY outbox.position) AS attempts"
            " FROM ledger.run LEFT JOIN ledger.outbox ON run_id = run.id GROUP BY run.id",
        )
        seen = {run.id: (run.state, run.attempt, run.cancel) for run in runs}
        assert seen == {run_id: (run.state, run.attempt, run.cancel) for run_id, run in self.runs.items()}
        active = Counter(run.kb_id for run in runs if run.state not in TERMINAL)
        assert max(active.values(), default=0) <= 1, "two runs of one kb_id are active"
        for run in runs:
            self._trail_is_sound(run)

    def _trail_is_sound(self, run) -> None:
        assert run.positions == list(range(1, run.position + 1))
        assert run.types[0] == "run.requested"
        assert run.types.count("run.requested") == 1
        assert run.types.count("run.cancel_requested") <= 1
        ends = [kind for kind in run.types if kind in ENDS]
        assert ends == ([f"run.{run.state}"] if run.state in TERMINAL else [])
        assert not ends or run.types[-1] == ends[0], "something happened after the end"
        started = [attempt for kind, attempt in zip(run.types, run.attempts, strict=True) if kind == "run.started"]
        assert started == list(range(1, run.attempt + 1))

    @invariant()
    def the_journal_holds_only_what_the_ledger_wrote_and_what_is_confirmed_is_there(self):
        rows = rows_of(
            self.engines.owner,
            "SELECT outbox.event_id AS written, journal.event_id AS kept, confirmed_at"
            " FROM ledger.outbox FULL JOIN audit.journal USING (event_id)"
            " WHERE COALESCE(outbox.run_id, journal.run_id) = ANY(:runs)",
            runs=list(self.runs),
        )
        for row in rows:
            assert row.written is not None, "the journal holds an event that the ledger never wrote"
            assert row.confirmed_at is None or row.kept is not None, "an event was given up before it arrived"

    def teardown(self):
        """Whatever was lost on the way: repeated long enough, everything arrives, and then nothing is sent."""
        assert self._waiting() or claim(self.engines.trainer) is None
        owner = self.engines.owner
        for _ in range(60):
            self.on_the_road = []
            self._publish(later=True)
            if not self.on_the_road:
                break
            self._journal(self.on_the_road)
            self._confirm()
        pending = "SELECT event_id FROM ledger.outbox WHERE confirmed_at IS NULL"
        missing = "SELECT event_id FROM ledger.outbox EXCEPT SELECT event_id FROM audit.journal"
        assert rows_of(owner, pending) == rows_of(owner, missing) == []
