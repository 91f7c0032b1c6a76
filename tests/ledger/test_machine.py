"""Everything that can happen to runs, in any order, on a real Postgres; Hypothesis looks for the order that lies.

One step is one unit of work of one service, or what time and the road do: a lease is over, a message is repeated.
The machine keeps its own small picture of what must be true and compares it with the rows after each step.
"""

import json
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine

from oncetune.contracts.envelope import read_envelope
from oncetune.contracts.progress import Progress
from oncetune.contracts.run import MOVES, TERMINAL, RunState
from oncetune.ledger.leases import EndReason, Lease, LeaseLost, finish_run, renew_lease
from oncetune.ledger.outbox import Pace, confirm_events, take_events
from oncetune.ledger.requests import RequestKeyReused, RunActive
from oncetune.postgres import transaction
from oncetune.status.journal import Outcome, append_events
from tests.ledger.given import MINUTE, NOTHING, change, claim, record, rows_of
from tests.ledger.paths import AT_ONCE, cancel, end, make_due

ENOUGH = settings(
    max_examples=200,
    stateful_step_count=30,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
PACE = Pace(batch=4, window=6, deadline=NOTHING, backoff=NOTHING, max_backoff=NOTHING, slow=NOTHING)
ADAPTER = {"metrics": {"loss": 0.5}, "artifact_uri": "file:///adapter", "adapter_sha256": "a" * 64}
ENDS = {f"run.{state}": state for state in TERMINAL}
FINISHES = [
    {"state": "completed", **ADAPTER},
    {"state": "failed", "error": {"code": "rows_too_long", "message": "Raise max_length."}},
]


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


class Ledger(RuleBasedStateMachine):
    def __init__(self, engines: Engines) -> None:
        super().__init__()
        self.engines = engines
        self.runs: dict[UUID, Known] = {}
        self.keys: dict[str, tuple[str, UUID]] = {}
        self.leases: list[Lease] = []
        self.finishes: list[tuple[Lease, UUID, dict]] = []
        self.on_the_road: list[dict] = []

    @initialize()
    def nothing_from_before(self):
        change(self.engines.owner, "DELETE FROM ledger.request_key")
        change(self.engines.owner, "DELETE FROM ledger.outbox")
        change(self.engines.owner, "DELETE FROM ledger.run")
        self.request("a", None, "x")

    def _one(self, data, these: list, likely: Callable):
        """One of `these`; every second time one of the `likely`, so that more happens than refusals."""
        chosen = [one for one in these if likely(one)] if data.draw(st.booleans()) else []
        return data.draw(st.sampled_from(chosen or these))

    # What callers do

    @rule(kb_id=st.sampled_from("ab"), key=st.sampled_from([None, "k", "l"]), body=st.sampled_from("xxxy"))
    def request(self, kb_id, key, body):
        held = self.keys.get(key)
        try:
            answer = record(self.engines.trigger, kb_id, key=key, fingerprint=body + kb_id)
        except RequestKeyReused:
            assert held is not None
            assert held[0] != body + kb_id
        except RunActive as refusal:
            assert held is None
            active = self.runs[refusal.run_id]
            assert active.state not in TERMINAL
        else:
            assert answer.replayed == (held is not None)
            if held is not None:
                assert held == (body + kb_id, answer.run_id)
                return
            assert answer.run_id not in self.runs
            self.runs[answer.run_id] = Known()
            if key is not None:
                self.keys[key] = (body + kb_id, answer.run_id)

    @precondition(lambda self: self.keys)
    @rule()
    def keys_expire(self):
        change(self.engines.owner, "UPDATE ledger.request_key SET expires_at = now() - interval '1 s'")
        self.keys.clear()

    @precondition(lambda self: any(run.state not in TERMINAL for run in self.runs.values()))
    @rule(data=st.data())
    def cancel(self, data):
        run_id = self._one(data, list(self.runs), lambda run_id: self.runs[run_id].state is RunState.RUNNING)
        cancel(self.engines.trigger, run_id)
        run = self.runs[run_id]
        if run.state not in TERMINAL:
            run.cancel = True
        if run.state is RunState.QUEUED:
            run.state = RunState.CANCELLED

    # What trainers do

    def _waiting(self) -> bool:
        return any(run.state is RunState.QUEUED for run in self.runs.values())

    @precondition(_waiting)
    @rule()
    def claim(self):
        lease = claim(self.engines.trainer, f"trainer {len(self.leases)}", lasting=MINUTE)
        assert lease is not None
        run = self.runs[lease.run_id]
        assert run.state is RunState.QUEUED
        run.state, run.attempt = RunState.RUNNING, run.attempt + 1
        assert lease.attempt == run.attempt
        self.leases.append(lease)

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

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), as_event=st.booleans())
    def renew(self, data, as_event):
        lease = self._one(data, self.leases, self._holds)
        holds, known = self._holds(lease), self.runs[lease.run_id]
        with self._only_by_its_holder(lease):
            try:
                with transaction(self.engines.trainer) as session:
                    asked = renew_lease(session, lease, progress=Progress(step=1, steps=2), as_event=as_event)
            except LeaseLost:
                assert not holds
            else:
                assert holds
                assert asked == known.cancel

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), reason=st.sampled_from(EndReason))
    def end(self, data, reason):
        lease = self._one(data, self.leases, self._holds)
        holds, run = self._holds(lease), self.runs[lease.run_id]
        with self._only_by_its_holder(lease):
            state = end(self.engines.trainer, lease, reason, AT_ONCE)
        if not holds or reason is EndReason.EXPIRED:  # every lease here is alive
            assert state is None
        else:
            self._moved(run, state, {RunState.CANCELLED} if run.cancel else {RunState.QUEUED, RunState.FAILED})

    @precondition(lambda self: any(self._holds(lease) for lease in self.leases))
    @rule(data=st.data())
    def expire(self, data):
        """Its time is over, and trigger's loop ends it."""
        lease = data.draw(st.sampled_from([lease for lease in self.leases if self._holds(lease)]))
        over = "lease_seconds = 0, lease_expires_at = clock_timestamp() - interval '1 s'"
        change(self.engines.owner, f"UPDATE ledger.run SET {over} WHERE id = :id", id=lease.run_id)
        run = self.runs[lease.run_id]
        state = end(self.engines.trigger, lease, EndReason.EXPIRED, AT_ONCE)
        self._moved(run, state, {RunState.CANCELLED} if run.cancel else {RunState.QUEUED, RunState.FAILED})

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), result=st.sampled_from(FINISHES))
    def finish(self, data, result):
        lease = self._one(data, self.leases, self._holds)
        self._finish(lease, uuid4(), result)

    @precondition(lambda self: self.finishes)
    @rule(data=st.data())
    def finish_again(self, data):
        """The answer was lost, or the trainer woke up late: the same finish once more."""
        self._finish(*data.draw(st.sampled_from(self.finishes)))

    def _finish(self, lease: Lease, event_id: UUID, result: dict) -> None:
        self.finishes.append((lease, event_id, result))
        holds, run = self._holds(lease), self.runs[lease.run_id]
        with self._only_by_its_holder(lease):
            try:
                with transaction(self.engines.trainer) as session:
                    state = finish_run(session, lease, event_id=event_id, **result)
            except LeaseLost:
                assert not holds
                assert event_id not in run.finishes
                return
        if not holds:
            assert run.finishes[event_id] is state
            return
        cancelled = run.cancel and result["state"] == "failed"
        self._moved(run, state, {RunState.CANCELLED if cancelled else RunState(result["state"])})
        run.finishes[event_id] = state

    def _moved(self, run: Known, state: RunState | None, allowed: set[RunState]) -> None:
        assert state in allowed
        assert state in MOVES[run.state]
        run.state = state

    # What the relay, the road and status do

    @rule(arriving=st.lists(st.integers(0, 999), max_size=6), later=st.booleans())
    def relay(self, arriving, later):
        """Publish what is due, now or when a second try is; any part of what was ever sent arrives, once or again."""
        self._publish(later=later)
        if self.on_the_road:  # how many these are is the clock's affair: they decide nothing that Hypothesis draws
            self._journal([self.on_the_road[number % len(self.on_the_road)] for number in arriving])

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

    @precondition(lambda self: self.on_the_road)
    @rule()
    def confirm(self):
        with transaction(self.engines.trigger) as session:
            assert confirm_events(session).conflicting == []

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
            self.confirm()
        pending = "SELECT event_id FROM ledger.outbox WHERE confirmed_at IS NULL"
        missing = "SELECT event_id FROM ledger.outbox EXCEPT SELECT event_id FROM audit.journal"
        assert rows_of(owner, pending) == rows_of(owner, missing) == []


def test_no_order_of_steps_breaks_what_the_ledger_promises(engine):
    owner = engine(None, 1).execution_options(isolation_level="AUTOCOMMIT")  # one journey for each look
    engines = Engines(owner, engine("trigger", 1), engine("trainer", 1), engine("status", 1))
    run_state_machine_as_test(lambda: Ledger(engines), settings=ENOUGH)
