"""The one place of a trainer: taken before the ledger is asked, given back whatever comes of it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest

from oncetune.postgres import DATABASE_AWAY
from oncetune.trainer.slot import Offer, Slot
from tests.ledger.given import MINUTE, record, rows_of
from tests.outage import database_away

AT_ONCE = timedelta(0)


@pytest.fixture
def slot(engine):
    return Slot(engine("trainer"), worker="worker", lease=MINUTE)


def test_an_offered_run_is_claimed_for_the_worker_and_the_next_one_finds_the_place_taken(engine, slot):
    first, second = (record(engine("trigger"), kb_id).run_id for kb_id in ("first", "second"))
    assert slot.offer(second) is Offer.CLAIMED
    assert slot.offer(first) is Offer.BUSY
    assert slot.wait_for_lease(AT_ONCE).run_id == second
    assert slot.offer(first) is Offer.BUSY
    assert slot.wait_for_lease(AT_ONCE) is None, "the worker has it, too"
    slot.free()
    assert slot.offer(first) is Offer.CLAIMED


def test_a_repeat_or_an_unknown_run_leaves_the_place_free(engine, slot):
    assert slot.offer(uuid4()) is Offer.NOTHING
    record(engine("trigger"))
    assert slot.wait_for_lease(AT_ONCE) is not None


def test_a_closed_slot_takes_nothing_and_hands_over_what_was_never_begun(engine, slot):
    run_id = record(engine("trigger"), "first").run_id
    record(engine("trigger"), "second")
    assert slot.offer(run_id) is Offer.CLAIMED
    slot.close()
    assert slot.left_over().run_id == run_id
    assert slot.left_over() is None
    slot.free()
    assert slot.offer(run_id) is Offer.BUSY
    assert slot.wait_for_lease(AT_ONCE) is None


def test_after_an_error_the_place_is_free_and_the_claim_is_asked_for_again(engine, administer, database_url, slot):
    run_id = record(engine("trigger")).run_id
    with database_away(administer, database_url):
        with pytest.raises(DATABASE_AWAY):
            slot.offer(run_id)
        with pytest.raises(DATABASE_AWAY):
            slot.wait_for_lease(AT_ONCE)
    assert slot.offer(run_id) is Offer.CLAIMED


def test_a_claim_whose_answer_was_lost_is_found_again_by_the_same_slot(engine, slot):
    """The claim is made, its commit arrives, its answer does not."""
    from oncetune.ledger.leases import claim_run
    from oncetune.postgres import transaction

    run_id = record(engine("trigger")).run_id
    with transaction(engine("trainer")) as session:
        claim_run(session, worker="worker", claim_id=slot._claim_id, duration=MINUTE)
    lease = slot.wait_for_lease(AT_ONCE)
    assert (lease.run_id, lease.attempt) == (run_id, 1)


def test_deliveries_and_the_worker_at_once_get_one_lease(engine):
    trigger = engine("trigger")
    run_ids = [record(trigger, f"kb{number}").run_id for number in range(16)]
    slot = Slot(engine("trainer", 16), worker="worker", lease=MINUTE)
    with ThreadPoolExecutor(16) as both:
        offers = list(both.map(slot.offer, run_ids))
    assert offers.count(Offer.CLAIMED) == 1
    assert len(rows_of(engine(None), "SELECT FROM ledger.run WHERE state = 'running'")) == 1


def test_closing_wakes_the_worker_out_of_its_poll(slot):
    with ThreadPoolExecutor(1) as worker:
        waiting = worker.submit(slot.wait_for_lease, MINUTE)
        slot.close()
        assert waiting.result(10) is None


def test_a_line_that_is_cut_in_the_commit_of_a_claim_leaves_the_place_free(engine, administer, slot, monkeypatch):
    from oncetune.trainer import slot as room

    run_id = record(engine("trigger")).run_id
    claim_run, cut = room.claim_run, []

    def claim_and_cut(session, **wanted):
        lease = claim_run(session, **wanted)
        if not cut:
            cut.append(session.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
            administer(f"SELECT pg_terminate_backend({cut[0]}, 5000)")
        return lease

    monkeypatch.setattr(room, "claim_run", claim_and_cut)
    with pytest.raises(DATABASE_AWAY):
        slot.wait_for_lease(AT_ONCE)
    assert slot.wait_for_lease(AT_ONCE).run_id == run_id
