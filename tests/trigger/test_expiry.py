"""The loop that ends expired leases: without any trainer alive, and never a lease that could not be renewed."""

import threading
from contextlib import contextmanager
from datetime import timedelta

from oncetune.ledger.leases import StrikeRule, renew_lease
from oncetune.postgres import DATABASE_AWAY, transaction
from oncetune.trigger.expiry import expire, expire_once
from tests.deadline import eventually
from tests.ledger.given import MINUTE, change, claim, record, rows_of
from tests.loglines import captured_lines
from tests.outage import database_away

RULE = StrikeRule(max_strikes=2)
SHORT = timedelta(seconds=1)


@contextmanager
def _expiring(engine, *, batch=100, every=0.05):
    stop = threading.Event()
    thread = threading.Thread(target=expire, args=(engine, RULE), kwargs={"batch": batch, "stop": stop, "every": every})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def _renewing(engine, lease, every):
    """A trainer's heartbeat, and what an absent database makes of it."""
    stop = threading.Event()

    def beat():
        while not stop.wait(every):
            try:
                with transaction(engine) as session:
                    renew_lease(session, lease, progress=None, as_event=False)
            except DATABASE_AWAY:
                continue

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


def _run(owner):
    return rows_of(owner, "SELECT * FROM ledger.run")[0]


def test_a_dead_trainers_lease_ends_with_no_trainer_alive(engine):
    record(engine("trigger"))
    lease, owner = claim(engine("trainer"), lasting=SHORT), engine(None)
    with transaction(engine("trainer")) as session:
        renew_lease(session, lease, progress=None, as_event=False)
    with captured_lines() as lines, _expiring(engine("trigger")):
        eventually(lambda: _run(owner).state == "queued")
        [line] = eventually(lambda: lines.events("lease.expired"))
    assert (line["run_id"], line["attempt"], line["state"]) == (str(lease.run_id), 1, "queued")
    assert _run(owner).strikes == 1
    assert rows_of(owner, "SELECT type FROM ledger.outbox ORDER BY position DESC")[0].type == "run.requeued"


def test_a_living_trainers_lease_never_ends(engine):
    record(engine("trigger"))
    trainer, owner = engine("trainer"), engine(None)
    lease = claim(trainer, lasting=SHORT)
    with _expiring(engine("trigger")), _renewing(trainer, lease, 0.2):
        eventually(lambda: _run(owner).renewals >= 10)
    assert (_run(owner).state, _run(owner).attempt) == ("running", 1)


def test_after_an_outage_the_trainers_that_live_go_first(engine, administer, database_url):
    """The lease runs out during the outage, and the trainer comes back later than the loop does."""
    record(engine("trigger"))
    trainer, owner = engine("trainer"), engine(None)
    lease = claim(trainer, lasting=timedelta(seconds=2))
    expired = "SELECT lease_expires_at < clock_timestamp() AS over FROM ledger.run"
    with captured_lines() as lines, _expiring(engine("trigger")):
        with database_away(administer, database_url):
            eventually(lambda: lines.events("expiry.waits"))
            threading.Event().wait(2.1)  # the outage itself: longer than the lease
        assert rows_of(owner, expired)[0].over
        with _renewing(trainer, lease, 1.2):
            eventually(lambda: _run(owner).renewals >= 3)
    assert (_run(owner).state, _run(owner).attempt) == ("running", 1)


def test_a_loop_that_has_just_begun_leaves_longer_leases_alone(engine):
    trainer, trigger, owner = engine("trainer"), engine("trigger"), engine(None)
    record(trigger)
    claim(trainer, lasting=timedelta(seconds=1))
    change(owner, "UPDATE ledger.run SET lease_expires_at = now()")
    assert expire_once(trigger, RULE, watched=timedelta(seconds=0.9), batch=1) == 0
    eventually(
        lambda: expire_once(trigger, RULE, watched=timedelta(seconds=1), batch=2) == 1
    )  # the server itself is up for so long


def test_expired_leases_of_many_runs_end_each_by_its_own_verdict(engine):
    trainer, trigger, owner = engine("trainer"), engine("trigger"), engine(None)
    for kb_id in ("once", "cancelled", "struck", "alive"):
        record(trigger, kb_id)
        lease = claim(trainer, lasting=MINUTE)
        with transaction(trainer) as session:
            renew_lease(session, lease, progress=None, as_event=False)
    over = "UPDATE ledger.run SET lease_seconds = 0, lease_expires_at = now()"
    change(owner, f"{over}, strikes = 1 WHERE kb_id = 'struck'")
    change(owner, f"{over}, cancel_requested_at = now() WHERE kb_id = 'cancelled'")
    change(owner, f"{over} WHERE kb_id = 'once'")
    assert expire_once(trigger, RULE, watched=MINUTE, batch=4) == 3
    states = {run.kb_id: run.state for run in rows_of(owner, "SELECT kb_id, state FROM ledger.run")}
    assert states == {"once": "queued", "cancelled": "cancelled", "struck": "failed", "alive": "running"}


def test_leases_beyond_one_look_are_ended_by_the_next_which_does_not_wait(engine):
    trainer, trigger, owner = engine("trainer"), engine("trigger"), engine(None)
    for kb_id in "abcde":
        record(trigger, kb_id)
        claim(trainer, lasting=MINUTE)
    change(
        owner, "UPDATE ledger.run SET lease_seconds = 0, lease_expires_at = now() - (kb_id = 'e')::int * '1s'::interval"
    )
    queued = "SELECT kb_id FROM ledger.run WHERE state = 'queued'"
    assert expire_once(trigger, RULE, watched=MINUTE, batch=1) == 1
    assert [run.kb_id for run in rows_of(owner, queued)] == ["e"], "the one that has waited longest"
    with _expiring(trigger, batch=2, every=60):
        eventually(lambda: len(rows_of(owner, queued)) == 5)
