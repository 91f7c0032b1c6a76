"""The ledger forgets what nobody needs any more, and nothing else."""

import threading
from datetime import timedelta

import pytest

from oncetune.postgres import statement
from oncetune.trigger.sweep import sweep_once
from tests.deadline import eventually
from tests.ledger.given import change, count, record, rows_of
from tests.serving import serving

WEEK = timedelta(days=7)
BATCH = 1000


def _confirmed(owner, ago):
    change(owner, f"UPDATE ledger.outbox SET confirmed_at = now() - interval '{ago}'")


def test_keys_are_forgotten_an_hour_after_they_expired(engine):
    trigger, owner = engine("trigger"), engine(None)
    for name, ended in (("fresh", "-10 minutes"), ("expired", "59 minutes"), ("old", "61 minutes")):
        record(trigger, name, key=name)
        change(
            owner, f"UPDATE ledger.request_key SET expires_at = now() - interval '{ended}' WHERE key = :key", key=name
        )

    assert sweep_once(trigger, outbox_kept=WEEK, batch=BATCH, stop=threading.Event())["request_keys"] == 1

    assert {row.key for row in rows_of(owner, "SELECT key FROM ledger.request_key")} == {"fresh", "expired"}


def test_events_are_kept_for_their_time_and_those_on_their_way_for_ever(engine):
    trigger, owner = engine("trigger"), engine(None)
    record(trigger, "old")
    _confirmed(owner, "8 days")
    record(trigger, "recent")
    change(owner, "UPDATE ledger.outbox SET confirmed_at = now() - interval '6 days' WHERE confirmed_at IS NULL")
    waiting = record(trigger, "waiting").run_id
    change(owner, "UPDATE ledger.outbox SET occurred_at = now() - interval '1 year' WHERE run_id = :id", id=waiting)

    assert sweep_once(trigger, outbox_kept=WEEK, batch=BATCH, stop=threading.Event())["outbox"] == 1

    kept = rows_of(owner, "SELECT kb_id FROM ledger.outbox JOIN ledger.run ON run.id = run_id")
    assert {row.kb_id for row in kept} == {"recent", "waiting"}
    assert count(owner, "ledger.run") == 3


def test_tokens_are_forgotten_when_they_have_expired_used_or_not(engine):
    trigger, owner = engine("trigger"), engine(None)
    run_id = record(trigger).run_id
    change(
        owner,
        "INSERT INTO ledger.download_token (sha256, run_id, issued_to, expires_at, used_at)"
        " SELECT encode(sha256(n::text::bytea), 'hex'), :run_id, n, now() + lives, used"
        " FROM (VALUES ('fresh', interval '1 h', NULL::timestamptz), ('used', interval '1 h', now()),"
        " ('old', interval '-1 s', NULL), ('old and used', interval '-1 day', now())) AS given (n, lives, used)",
        run_id=run_id,
    )

    assert sweep_once(trigger, outbox_kept=WEEK, batch=1, stop=threading.Event())["downloads"] == 2

    left = rows_of(owner, "SELECT issued_to FROM ledger.download_token")
    assert {row.issued_to for row in left} <= {"fresh", "used"}


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("sweep_outbox", "outbox_confirmed"),
        ("sweep_request_keys", "request_key_expiry"),
        ("sweep_download_tokens", "download_token_expiry"),
    ],
)
def test_what_is_due_is_found_by_an_index_however_much_is_not(engine, name, index):
    owner = engine(None)
    run_id = record(engine("trigger")).run_id
    change(
        owner,
        "INSERT INTO ledger.request_key SELECT 'ann', n::text, 'body', :run_id, now() FROM generate_series(1, 9000) n",
        run_id=run_id,
    )
    change(
        owner,
        "INSERT INTO ledger.outbox (event_id, run_id, position, type, source, payload, confirmed_at)"
        " SELECT gen_random_uuid(), :run_id, n, 'run.progress', '/', '{}', now() FROM generate_series(2, 9000) n",
        run_id=run_id,
    )
    change(
        owner,
        "INSERT INTO ledger.download_token (sha256, run_id, issued_to, expires_at)"
        " SELECT encode(sha256(n::text::bytea), 'hex'), :run_id, 'ann', now() + interval '1 h'"
        " FROM generate_series(1, 9000) n",
        run_id=run_id,
    )
    change(owner, "ANALYZE ledger.outbox, ledger.request_key, ledger.download_token")

    plan = rows_of(owner, f"EXPLAIN {statement('ledger', name).text}", limit=BATCH, kept_seconds=1)

    assert index in str(plan)
    assert "Seq Scan" not in str(plan)
    assert "Index Cond: (confirmed_at <" in str(plan) or "Index Cond: (expires_at <" in str(plan)


def test_more_than_one_transaction_takes_are_swept_in_one_pass(engine):
    trigger, owner = engine("trigger"), engine(None)
    change(
        owner,
        "INSERT INTO ledger.request_key SELECT 'ann', n::text, 'body', :run_id, now() - interval '1 day'"
        " FROM generate_series(1, 2500) AS n",
        run_id=record(trigger).run_id,
    )

    assert sweep_once(trigger, outbox_kept=WEEK, batch=BATCH, stop=threading.Event())["request_keys"] == 2500


def test_a_running_trigger_sweeps_by_itself(monkeypatch, database_url, engine):
    record(engine("trigger"), key="key")
    owner = engine(None)
    change(owner, "UPDATE ledger.request_key SET expires_at = now() - interval '1 day'")
    often = {"ONCETUNE_TRIGGER_SWEEP_EVERY": "PT0.05S"}
    with serving(monkeypatch, "trigger", "status", database_url=database_url, environment=often):
        eventually(lambda: count(owner, "ledger.request_key") == 0)
