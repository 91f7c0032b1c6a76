"""Somebody asks a run to stop: while it waits, while it runs, while it ends, and long after."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import uuid4

import pytest

from oncetune.contracts.progress import Progress
from oncetune.contracts.run import RunState
from oncetune.ledger.leases import EndReason, LeaseLost, finish_run, renew_lease
from oncetune.postgres import transaction
from tests.ledger.given import ADAPTER, claim, record, run_of, trail_of
from tests.ledger.paths import cancel, end


def test_a_cancel_ends_a_queued_run_at_once_and_a_running_one_at_its_next_heartbeat(engine):
    trigger, trainer, owner = engine("trigger"), engine("trainer"), engine(None)
    queued = record(trigger, "queued").run_id
    for _ in range(2):
        cancel(trigger, queued)
    assert run_of(owner, queued).state == "cancelled"
    assert [kind for _, kind in trail_of(owner, queued)] == ["run.requested", "run.cancelled"]

    running = record(trigger, "running").run_id
    lease = claim(trainer, run_id=running)
    for _ in range(2):
        cancel(trigger, running)
    with transaction(trainer) as session:
        assert renew_lease(session, lease, progress=None, as_event=False) is True
    assert end(trainer, lease, EndReason.CANCELLED) is RunState.CANCELLED
    assert [kind for _, kind in trail_of(owner, running)] == [
        "run.requested", "run.started", "run.cancel_requested", "run.cancelled",
    ]  # fmt: skip


def test_a_completed_adapter_wins_over_a_cancel_and_a_failure_does_not(engine):
    trigger, trainer = engine("trigger"), engine("trainer")
    for kb_id, result, state in (
        ("won", {"state": "completed", **ADAPTER}, RunState.COMPLETED),
        ("lost", {"state": "failed", "error": {"code": "x", "message": "x"}}, RunState.CANCELLED),
    ):
        run_id = record(trigger, kb_id).run_id
        lease = claim(trainer, run_id=run_id)
        cancel(trigger, run_id)
        with transaction(trainer) as session:
            assert finish_run(session, lease, event_id=uuid4(), **result) is state


def test_racing_cancel_and_release_never_leave_a_queued_run_that_nobody_cancels(engine):
    trigger, trainer, owner = engine("trigger"), engine("trainer"), engine(None)
    with ThreadPoolExecutor(2) as both:
        for number in range(60):
            run_id = record(trigger, f"kb{number}").run_id
            lease = claim(trainer, run_id=run_id)
            acts = (partial(cancel, trigger, run_id), partial(end, trainer, lease, EndReason.RELEASED))
            list(both.map(lambda act: act(), acts))
            assert run_of(owner, run_id).state == "cancelled"


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
def test_nothing_that_comes_late_moves_a_run_that_has_ended(engine, state):
    trigger, trainer, owner = engine("trigger"), engine("trainer"), engine(None)
    run_id = record(trigger).run_id
    lease = claim(trainer)
    if state == "cancelled":
        cancel(trigger, run_id)
    result = {"state": "completed", **ADAPTER} if state == "completed" else {"state": "failed", "error": {"code": "x"}}
    with transaction(trainer) as session:
        assert finish_run(session, lease, event_id=uuid4(), **result) is RunState(state)
    ended, trail = run_of(owner, run_id), trail_of(owner, run_id)

    assert [end(trainer, lease, reason) for reason in EndReason] == [None] * len(EndReason)
    with pytest.raises(LeaseLost), transaction(trainer) as session:
        renew_lease(session, lease, progress=Progress(step=1, steps=2), as_event=True)
    with pytest.raises(LeaseLost), transaction(trainer) as session:
        finish_run(session, lease, event_id=uuid4(), state="completed", **ADAPTER)
    cancel(trigger, run_id)
    assert claim(trainer, run_id=run_id) is None
    assert (run_of(owner, run_id), trail_of(owner, run_id)) == (ended, trail)
