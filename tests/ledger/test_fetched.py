"""What a URL gave is tied to its run once, by whoever holds its lease; a zombie leaves nothing behind."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest

from oncetune.contracts.preferences import PreferencePair
from oncetune.contracts.quality import Finding, QualityReport
from oncetune.datasets.packing import pack_rows
from oncetune.ledger.datasets import (
    dataset_url,
    read_chunks,
    read_quality,
    runs_of_set,
    store_fetched_dataset,
    store_quality,
)
from oncetune.ledger.leases import EndReason, LeaseLost, finish_run
from oncetune.postgres import transaction
from tests.ledger.given import ADAPTER, ROWS, URL, claim, count, record, record_url, rows_of, run_of, trail_of
from tests.ledger.paths import cancel, end

PAIRS = [PreferencePair(prompt=f"{n}?", chosen="yes", rejected="no") for n in range(3)]
OTHER = pack_rows(PAIRS)
REPORT = QualityReport(rows=1, numbers={"rows": 1})


def store(engine, lease, rows=ROWS):
    with transaction(engine) as session:
        return store_fetched_dataset(session, lease, rows)


def say(engine, lease, report=REPORT):
    with transaction(engine) as session:
        store_quality(session, lease, report)


def stored(owner):
    return [count(owner, table) for table in ("ledger.dataset", "ledger.dataset_chunk")]


def test_only_the_holder_of_the_lease_reads_the_whole_url_and_no_event_has_it(engine):
    trainer, owner = engine("trainer"), engine(None)
    run_id = record_url(engine("trigger"))
    with transaction(trainer) as session:
        assert dataset_url(session, run_id) == URL
    assert not rows_of(owner, "SELECT FROM ledger.outbox WHERE CAST(payload AS text) LIKE '%secret%'")


def test_the_recipe_is_whole_for_every_attempt_that_follows(engine):
    trigger, trainer, owner = engine("trigger"), engine("trainer"), engine(None)
    run_id = record_url(trigger)
    first = claim(trainer)
    assert store(trainer, first) == ROWS.sha256
    run = run_of(owner, run_id)
    assert (run.dataset_sha256, run.dataset_format) == (ROWS.sha256, ROWS.format)
    end(trainer, first, EndReason.RELEASED)
    assert claim(trainer).recipe == {**first.recipe, "dataset_sha256": ROWS.sha256}
    with transaction(trainer) as session:
        assert list(read_chunks(session, ROWS.sha256)) == list(ROWS.chunks)


@pytest.mark.parametrize(
    "loss",
    ["released", "claimed by another", "completed", "another attempt of the same worker", "held by one who fetches"],
)
def test_a_zombie_s_dataset_changes_nothing(engine, loss):
    trigger, trainer, owner = engine("trigger"), engine("trainer"), engine(None)
    run_id = record_url(trigger)
    zombie = claim(trainer)
    end(trainer, zombie, EndReason.RELEASED)
    if loss != "released":
        holder = claim(trainer, "another" if "claimed" in loss else "worker")
        if loss != "held by one who fetches":
            store(trainer, holder, OTHER)
    if loss == "completed":
        with transaction(trainer) as session:
            finish_run(session, holder, event_id=uuid4(), state="completed", **ADAPTER)
    before = (run_of(owner, run_id), stored(owner), trail_of(owner, run_id))
    with pytest.raises(LeaseLost):
        store(trainer, zombie)
    with pytest.raises(LeaseLost):
        say(trainer, zombie)
    assert (run_of(owner, run_id), stored(owner), trail_of(owner, run_id)) == before


def test_a_dataset_is_tied_once_and_the_first_stays(engine):
    """The answer to the first try was lost, and by then the URL gives other rows."""
    trainer, owner = engine("trainer"), engine(None)
    run_id = record_url(engine("trigger"))
    lease = claim(trainer)
    assert [store(trainer, lease), store(trainer, lease, OTHER)] == [ROWS.sha256] * 2
    assert run_of(owner, run_id).dataset_sha256 == ROWS.sha256
    assert [kind for _, kind in trail_of(owner, run_id)].count("run.dataset_stored") == 1


def test_a_run_that_is_being_cancelled_may_still_keep_its_dataset(engine):
    trigger, trainer = engine("trigger"), engine("trainer")
    run_id = record_url(trigger)
    lease = claim(trainer)
    cancel(trigger, run_id)
    assert store(trainer, lease) == ROWS.sha256


def test_many_runs_that_fetch_the_same_rows_at_once_store_them_once(engine, big_rows):
    trigger, trainer, owner = engine("trigger"), engine("trainer", 8), engine(None)
    ids = [record_url(trigger, f"kb{number}") for number in range(7)]
    leases = [claim(trainer, run_id=run_id) for run_id in ids]
    with ThreadPoolExecutor(8) as callers:
        inline = callers.submit(record, trigger, "inline", rows=big_rows)
        assert set(callers.map(lambda lease: store(trainer, lease, big_rows), leases)) == {big_rows.sha256}
        inline.result()
    assert stored(owner) == [1, len(big_rows.chunks)]


def test_the_same_attempt_racing_itself_ties_one_dataset_and_writes_one_event(engine):
    trigger, trainer, owner = engine("trigger"), engine("trainer", 8), engine(None)
    run_id = record_url(trigger)
    lease = claim(trainer)
    with ThreadPoolExecutor(8) as callers:
        told = set(callers.map(lambda rows: store(trainer, lease, rows), [ROWS, OTHER] * 4))
    assert told == {run_of(owner, run_id).dataset_sha256}
    assert [position for position, _ in trail_of(owner, run_id)] == [1, 2, 3]


def test_a_dataset_of_the_version_before_gets_the_fingerprint_of_its_set_when_it_is_used_again(engine):
    trigger, owner = engine("trigger"), engine(None)
    record(trigger, rows=replace(ROWS, set_sha256=None))
    record(trigger, "again")
    record(trigger, "and again", rows=replace(ROWS, set_sha256=None))
    assert [row.set_sha256 for row in rows_of(owner, "SELECT set_sha256 FROM ledger.dataset")] == [ROWS.set_sha256]


def test_the_first_report_on_a_run_s_rows_stays_whatever_text_it_holds(engine):
    trigger, trainer = engine("trigger"), engine("trainer")
    run_id = record(trigger).run_id
    lease = claim(trainer)
    with transaction(trainer) as session:
        assert read_quality(session, run_id) is None
    odd = Finding(code="odd", level="error", count=1, message="Odd.", example="a\x00b\ud800")
    say(trainer, lease, QualityReport(rows=1, findings=(odd,), numbers={"mean": float("nan")}))
    say(trainer, lease)
    with transaction(trainer) as session:
        report = read_quality(session, run_id)
    assert [finding.example for finding in report.findings] == ["a\ufffdb\ufffd"]


def _completed(trigger, trainer, kb_id, rows, user_id="ann"):
    run_id = record(trigger, kb_id, rows=rows, user_id=user_id).run_id
    with transaction(trainer) as session:
        finish_run(session, claim(trainer, run_id=run_id), event_id=uuid4(), state="completed", **ADAPTER)
    return run_id


def test_a_set_knows_the_completed_runs_that_trained_on_it_in_any_order_of_its_rows(engine):
    trigger, trainer = engine("trigger"), engine("trainer")
    turned = pack_rows(PAIRS[::-1])
    assert turned.sha256 != OTHER.sha256
    first = _completed(trigger, trainer, "first", OTHER)
    second = _completed(trigger, trainer, "second", turned, user_id="bob")
    third = _completed(trigger, trainer, "third", OTHER)
    _completed(trigger, trainer, "other rows", ROWS)
    record(trigger, "waits", rows=OTHER)
    with transaction(trainer) as session:
        assert runs_of_set(session, OTHER.set_sha256) == [third, second, first]
        assert runs_of_set(session, OTHER.set_sha256, but=third, limit=1) == [second]
        assert runs_of_set(session, OTHER.set_sha256, user_id="ann") == [third, first]
