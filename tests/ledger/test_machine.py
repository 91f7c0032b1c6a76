"""Everything that can happen to runs, in any order, on a real Postgres; Hypothesis looks for the order that lies.

One step is one unit of work of one service, or what time and the road do: a lease is over, a message is repeated.
What must hold after each step is in picture.py.
"""

from uuid import UUID, uuid4

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from oncetune.contracts.progress import Progress
from oncetune.contracts.run import TERMINAL, RunState
from oncetune.ledger.leases import EndReason, Lease, LeaseLost, finish_run, renew_lease
from oncetune.ledger.requests import RequestKeyReused, RunActive
from oncetune.postgres import transaction
from tests.ledger.given import MINUTE, change, claim, record
from tests.ledger.paths import AT_ONCE, cancel, end
from tests.ledger.picture import Engines, Known, Picture

ENOUGH = settings(max_examples=200, stateful_step_count=30)
ADAPTER = {"metrics": {"loss": 0.5}, "artifact_uri": "file:///adapter", "adapter_sha256": "a" * 64}
FINISHES = [
    {"state": "completed", **ADAPTER},
    {"state": "failed", "error": {"code": "rows_too_long", "message": "Raise max_length."}},
]


class Ledger(Picture):
    @initialize()
    def nothing_from_before(self):
        change(self.engines.owner, "DELETE FROM ledger.request_key")
        change(self.engines.owner, "DELETE FROM ledger.outbox")
        change(self.engines.owner, "DELETE FROM ledger.run")
        self.request("a", None, "x")

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

    @precondition(Picture._waiting)
    @rule()
    def claim(self):
        lease = claim(self.engines.trainer, f"trainer {len(self.leases)}", lasting=MINUTE)
        assert lease is not None
        run = self.runs[lease.run_id]
        assert run.state is RunState.QUEUED
        run.state, run.attempt = RunState.RUNNING, run.attempt + 1
        assert lease.attempt == run.attempt
        self.leases.append(lease)

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

    # What the relay, the road and status do

    @rule(arriving=st.lists(st.integers(0, 999), max_size=6), later=st.booleans())
    def relay(self, arriving, later):
        """Publish what is due, now or when a second try is; any part of what was ever sent arrives, once or again."""
        self._publish(later=later)
        if self.on_the_road:  # how many these are is the clock's affair: they decide nothing that Hypothesis draws
            self._journal([self.on_the_road[number % len(self.on_the_road)] for number in arriving])

    @precondition(lambda self: self.on_the_road)
    @rule()
    def confirm(self):
        self._confirm()


def test_no_order_of_steps_breaks_what_the_ledger_promises(engine):
    owner = engine(None, 1).execution_options(isolation_level="AUTOCOMMIT")  # one journey for each look
    engines = Engines(owner, engine("trigger", 1), engine("trainer", 1), engine("status", 1))
    run_state_machine_as_test(lambda: Ledger(engines), settings=ENOUGH)
