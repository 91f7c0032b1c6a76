"""Claims, renewals and ends: what only the fence, and only the database's clock, may decide."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from oncetune.contracts.progress import Progress
from oncetune.contracts.run import RunState
from oncetune.ledger.leases import EndReason, LeaseLost, StrikeRule, claim_run, end_lease, finish_run, renew_lease
from oncetune.postgres import transaction
from tests.ledger.given import ADAPTER, MINUTE, NOTHING, change, claim, record, rows_of, run_of, trail_of

RULE = StrikeRule(max_strikes=2)


def _expire(engine, lease):
    """Let the lease be over now, as if its time had passed, with the database up for longer."""
    with transaction(engine) as session:
        session.execute(
            text(
                "UPDATE ledger.run SET lease_seconds = 0, lease_expires_at = clock_timestamp() - interval '1 s'"
                " WHERE id = :id"
            ),
            {"id": lease.run_id},
        )


def _end(engine, lease, reason, rule=RULE):
    with transaction(engine) as session:
        return end_lease(session, lease.run_id, lease.attempt, reason=reason, rule=rule)


def test_a_worker_that_lost_its_lease_cannot_finish_the_run(engine):
    trainer, owner = engine("trainer"), engine(None)
    run_id = record(engine("trigger")).run_id
    slow = claim(trainer, "slow")
    _expire(owner, slow)
    assert _end(trainer, slow, EndReason.RELEASED) is RunState.QUEUED
    quick = claim(trainer, "quick")
    assert quick.attempt == slow.attempt + 1
    with pytest.raises(LeaseLost), transaction(trainer) as session:
        finish_run(session, slow, event_id=uuid4(), state="completed", **ADAPTER)
    with pytest.raises(LeaseLost), transaction(trainer) as session:
        renew_lease(session, slow, progress=None, as_event=False)
    assert _end(trainer, slow, EndReason.CHILD_DIED) is None
    assert run_of(owner, run_id).lease_owner == "quick"


def test_a_repeated_finish_is_success_by_its_own_event_id_and_writes_one_event(engine):
    trainer = engine("trainer")
    run_id = record(engine("trigger")).run_id
    lease, event_id = claim(trainer), uuid4()
    for _ in range(2):
        with transaction(trainer) as session:
            assert finish_run(session, lease, event_id=event_id, state="completed", **ADAPTER) is RunState.COMPLETED
    assert [kind for _, kind in trail_of(engine(None), run_id)] == ["run.requested", "run.started", "run.completed"]
    with pytest.raises(LeaseLost), transaction(trainer) as session:
        finish_run(session, lease, event_id=uuid4(), state="failed", error={"code": "late", "message": "late"})


def test_sixty_four_workers_that_claim_one_run_at_once_get_one_lease(engine):
    record(engine("trigger"))
    trainer = engine("trainer", 16)
    with ThreadPoolExecutor(64) as workers:
        leases = [lease for lease in workers.map(lambda n: claim(trainer, f"w{n}"), range(64)) if lease]
    assert len(leases) == 1


def test_a_run_that_another_is_just_claiming_is_passed_over_and_not_waited_for(engine):
    first, second = (record(engine("trigger"), kb_id).run_id for kb_id in ("first", "second"))
    trainer, impatient = engine("trainer"), engine("trainer", lock_timeout=timedelta(seconds=1))
    with transaction(trainer) as session:
        slow = claim_run(session, worker="slow", claim_id=uuid4(), duration=MINUTE)
        quick = claim(impatient, "quick")
        assert claim(impatient, "third") is None
    assert (slow.run_id, quick.run_id) == (first, second)


def test_a_claim_whose_answer_was_lost_returns_the_same_lease(engine):
    _, waiting = (record(engine("trigger"), kb_id).run_id for kb_id in ("claimed", "waiting"))
    trainer, claim_id = engine("trainer"), uuid4()
    first = claim(trainer, claim_id=claim_id)
    again = claim(trainer, claim_id=claim_id)
    assert (again.run_id, again.attempt) == (first.run_id, first.attempt)
    assert claim(trainer).run_id == waiting
    assert claim(trainer) is None


def test_a_claim_by_id_obeys_the_rules_of_the_poll(engine):
    run_id = record(engine("trigger")).run_id
    trainer = engine("trainer")
    lease = claim(trainer, run_id=run_id)
    assert claim(trainer, run_id=run_id) is None
    _end(trainer, lease, EndReason.CHILD_DIED)
    with transaction(engine(None)) as session:
        session.execute(text("UPDATE ledger.run SET available_at = now() + interval '1 minute'"))
    assert claim(trainer, run_id=run_id) is None, "it waits out its backoff"
    with transaction(engine(None)) as session:
        session.execute(text("UPDATE ledger.run SET available_at = now(), recipe_version = 99"))
    assert claim(trainer, run_id=run_id) is None, "its recipe is of a newer version"
    assert claim(trainer) is None


def test_the_first_strike_costs_no_pause_and_every_further_one_more(engine):
    run_id = record(engine("trigger")).run_id
    trainer, owner = engine("trainer"), engine(None)
    pauses = []
    for _ in range(4):
        change(owner, "UPDATE ledger.run SET available_at = now()")
        lease = claim(trainer)
        with transaction(trainer) as session:
            rule = StrikeRule(max_strikes=9, max_backoff=timedelta(seconds=10))
            end_lease(session, run_id, lease.attempt, reason=EndReason.CHILD_DIED, rule=rule)
        pause = "SELECT extract(epoch FROM available_at - clock_timestamp()) AS seconds FROM ledger.run"
        pauses.append(round(float(rows_of(owner, pause)[0].seconds)))
    assert pauses == [0, 2, 6, 10]


def test_strikes_are_forgiven_by_a_checkpoint_beyond_every_earlier_one(engine):
    record(engine("trigger"))
    trainer, owner = engine("trainer"), engine(None)

    def strikes_after(step):
        change(owner, "UPDATE ledger.run SET strikes = 2 WHERE strikes < 2")
        with transaction(trainer) as session:
            renew_lease(session, lease, progress=Progress(step=step, steps=90, checkpoint_step=step), as_event=False)
        return rows_of(owner, "SELECT strikes FROM ledger.run")[0].strikes

    lease = claim(trainer)
    assert [strikes_after(step) for step in (10, 10, 9, 10, 20)] == [0, 2, 2, 2, 0]


def test_an_unknown_recipe_version_at_the_head_blocks_nobody(engine):
    trigger, owner = engine("trigger"), engine(None)
    newer = record(trigger, "first").run_id
    with transaction(owner) as session:
        session.execute(text("UPDATE ledger.run SET recipe_version = 99 WHERE id = :id"), {"id": newer})
    second = record(trigger, "second").run_id
    assert claim(engine("trainer")).run_id == second


def test_a_row_that_an_event_is_just_being_written_for_can_still_be_claimed(engine):
    run_id = record(engine("trigger")).run_id
    with transaction(engine(None)) as writer:
        writer.execute(
            text(
                "INSERT INTO ledger.outbox (event_id, run_id, position, type, source, payload)"
                " VALUES (gen_random_uuid(), :id, 99, 'x', 'x', '{}')"
            ),
            {"id": run_id},
        )  # holds a key-share lock on the run
        assert claim(engine("trainer")) is not None


def test_only_the_runs_own_faults_are_strikes_and_enough_of_them_fail_it(engine):
    run_id = record(engine("trigger")).run_id
    trainer, owner = engine("trainer"), engine(None)

    def again():
        with transaction(owner) as session:
            session.execute(text("UPDATE ledger.run SET available_at = now() WHERE id = :id"), {"id": run_id})
        return claim(trainer)

    for _ in range(5):
        assert _end(trainer, again(), EndReason.RELEASED) is RunState.QUEUED
    for _ in range(5):
        assert _end(trainer, again(), EndReason.NOT_STORED) is RunState.QUEUED
        assert claim(trainer) is None, "it waits out its backoff"
    never_renewed = again()
    _expire(owner, never_renewed)
    assert _end(trainer, never_renewed, EndReason.EXPIRED) is RunState.QUEUED
    assert run_of(owner, run_id).strikes == 0
    renewed = again()
    with transaction(trainer) as session:
        renew_lease(session, renewed, progress=None, as_event=False)
    _expire(owner, renewed)
    assert _end(trainer, renewed, EndReason.EXPIRED) is RunState.QUEUED
    assert run_of(owner, run_id).strikes == 1
    assert _end(trainer, again(), EndReason.CHILD_DIED) is RunState.FAILED
    ended = run_of(owner, run_id)
    assert (ended.strikes, ended.error["code"]) == (2, "attempts_exhausted")
    assert [position for position, _ in trail_of(owner, run_id)] == list(range(1, ended.position + 1))


def test_a_live_lease_cannot_be_expired(engine):
    record(engine("trigger"))
    trainer = engine("trainer")
    lease = claim(trainer, lasting=MINUTE)
    change(engine(None), "UPDATE ledger.run SET lease_seconds = 0")  # the server is up for longer than that
    assert _end(trainer, lease, EndReason.EXPIRED) is None


def test_no_lease_expires_in_the_first_lease_after_the_database_started(engine):
    record(engine("trigger"))
    trainer, owner = engine("trainer"), engine(None)
    lease = claim(trainer, lasting=NOTHING)
    with transaction(owner) as session:  # a lease longer than this server is up, and over
        session.execute(text("UPDATE ledger.run SET lease_seconds = 1e9"))
    assert _end(trainer, lease, EndReason.EXPIRED) is None
    with transaction(trainer) as session:
        renew_lease(session, lease, progress=None, as_event=False)  # its trainer lives and goes first


def test_progress_is_kept_with_the_run_and_numbered_only_when_it_is_an_event(engine):
    run_id = record(engine("trigger")).run_id
    trainer, owner = engine("trainer"), engine(None)
    lease = claim(trainer)
    for step, as_event in ((1, False), (2, True), (3, False)):
        with transaction(trainer) as session:
            renew_lease(session, lease, progress=Progress(step=step, steps=9, loss=float("nan")), as_event=as_event)
    run = run_of(owner, run_id)
    assert (run.progress["step"], run.progress["loss"], run.position) == (3, None, 3)
    assert trail_of(owner, run_id)[-1] == (3, "run.progress")


def test_a_run_that_came_back_waits_behind_those_that_were_due_before_it(engine):
    first, second = (record(engine("trigger"), kb_id).run_id for kb_id in ("came-back", "due-before"))
    change(engine(None), "UPDATE ledger.run SET available_at = clock_timestamp() WHERE id = :id", id=first)
    assert [claim(engine("trainer"), f"worker {n}").run_id for n in range(2)] == [second, first]
