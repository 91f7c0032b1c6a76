"""A run of a URL: its rows are fetched once, by the trainer, and every attempt trains on these very bytes."""

import gzip
import json
import os
import signal
from contextlib import contextmanager
from datetime import timedelta

import pytest

from oncetune.contracts.preferences import PreferencePair
from oncetune.datasets.packing import pack_rows
from tests.datasets.hostile import answer, hostile, in_pieces, redirect
from tests.deadline import eventually
from tests.ledger.given import change, count, record, record_url, rows_of
from tests.ledger.paths import cancel
from tests.loglines import captured_lines
from tests.trainer.rows import the_requeue, the_run, the_trail, the_types
from tests.trainer.working import alive, working

PAIRS = [{"prompt": f"What is {n} + 1?", "chosen": f"{n + 1}.", "rejected": "No idea."} for n in range(12)]
OTHERS = [pair | {"chosen": "Forty-two."} for pair in PAIRS]
ROWS = pack_rows(PreferencePair.model_validate(pair) for pair in PAIRS)
FETCHED = ["run.requested", "run.started", "run.dataset_stored"]


def jsonl(pairs) -> bytes:
    return b"".join(json.dumps(pair).encode() + b"\n" for pair in pairs)


@contextmanager
def serving(*scripts):
    """A server, and the trainer's settings that allow it."""
    said = list(scripts)  # one after the other, on either path
    with hostile({"/pairs.jsonl": said, "/pairs.jsonl?s3cr3t": said}) as server:
        yield server, {"fetch_allow": (f"127.0.0.1:{server.port}",)}


def failed(owner) -> dict[str, str]:
    eventually(lambda: the_run(owner).state == "failed", seconds=60)
    return the_run(owner).error


def test_a_run_of_a_url_is_fetched_stored_and_trained(engine, database_url, tmp_path):
    owner = engine(None)
    with serving(answer(jsonl(pair | {"score": 1} for pair in PAIRS))) as (server, allowed), captured_lines() as lines:
        record_url(engine("trigger"), url=server.url("/pairs.jsonl?s3cr3t"))
        with working(database_url, tmp_path, "finishes", **allowed) as trainer:
            trainer.pid()
            [staged] = (tmp_path / "staging").glob("*/dataset.jsonl")
            recipe = json.loads(staged.with_name("recipe.json").read_text())
            assert staged.read_text().splitlines() == [json.dumps(pair, sort_keys=True) for pair in PAIRS]
            assert {path.name for path in staged.parent.iterdir()} >= {"recipe.json", "quality.json"}
            assert not {"fetch.json", "fetched", "packed"} & {path.name for path in staged.parent.iterdir()}
            trainer.go()
            eventually(lambda: the_run(owner).state == "completed", seconds=60)
        assert server.paths() == ["/pairs.jsonl?s3cr3t"]
    run = the_run(owner)
    assert run.dataset_sha256 == run.recipe["dataset_sha256"] == recipe["dataset_sha256"] == ROWS.sha256
    assert (run.dataset_format, run.quality["rows"]) == ("text", len(PAIRS))
    assert run.dataset_notes == ["Columns that are not trained on were left out: score (12 rows)."]
    assert the_types(owner) == [*FETCHED, "run.completed"]
    assert the_trail(owner)[2].payload == {
        "attempt": 1, "dataset_sha256": ROWS.sha256, "dataset_set_sha256": ROWS.set_sha256,
        "dataset_rows": len(PAIRS), "dataset_bytes": ROWS.byte_count, "dataset_format": "text",
    }  # fmt: skip
    assert "s3cr3t" not in lines.getvalue()
    assert not rows_of(owner, "SELECT FROM ledger.outbox WHERE CAST(payload AS text) LIKE '%s3cr3t%'")


SERVED = {"jsonl": jsonl(PAIRS), "json": json.dumps(PAIRS).encode(), "gz": gzip.compress(jsonl(PAIRS))}


@pytest.mark.parametrize("body", SERVED.values(), ids=SERVED)
def test_the_same_rows_by_url_and_inline_are_one_dataset(engine, database_url, tmp_path, body):
    trigger, owner = engine("trigger"), engine(None)
    with serving(answer(body)) as (server, allowed):
        record_url(trigger, url=server.url("/pairs.jsonl"))
        with working(database_url, tmp_path, "finishes", **allowed) as trainer:
            trainer.go()
            eventually(lambda: the_run(owner).state == "completed", seconds=60)
    record(trigger, "inline", rows=ROWS)
    assert {run.dataset_sha256 for run in rows_of(owner, "SELECT dataset_sha256 FROM ledger.run")} == {ROWS.sha256}
    assert (count(owner, "ledger.dataset"), count(owner, "ledger.dataset_chunk")) == (1, 1)


def test_a_later_attempt_trains_on_the_first_bytes_whatever_the_url_gives_by_then(engine, database_url, tmp_path):
    owner = engine(None)
    with serving(answer(jsonl(PAIRS)), answer(jsonl(OTHERS))) as (server, allowed):
        record_url(engine("trigger"), url=server.url("/pairs.jsonl"))
        at_once = {"max_requeue_backoff": timedelta(0), "max_strikes": 100}
        with working(database_url, tmp_path / "first", "dies", **allowed, **at_once) as trainer:
            trainer.pid()
            trainer.go()
            eventually(lambda: the_run(owner).attempt >= 2)
        with working(database_url, tmp_path / "second", "finishes", **allowed) as trainer:
            trainer.pid()
            [staged] = (tmp_path / "second" / "staging").glob("*/dataset.jsonl")
            assert staged.read_bytes() == jsonl(sorted_pairs(PAIRS))
            trainer.go()
            eventually(lambda: the_run(owner).state == "completed", seconds=60)
        assert len(server.paths()) == 1
    assert the_run(owner).dataset_sha256 == ROWS.sha256
    assert the_types(owner).count("run.dataset_stored") == 1


def sorted_pairs(pairs):
    return [dict(sorted(pair.items())) for pair in pairs]


def test_another_run_of_the_same_url_is_fetched_anew_and_stored_once(engine, database_url, tmp_path):
    trigger, owner = engine("trigger"), engine(None)
    with serving(answer(jsonl(PAIRS))) as (server, allowed):
        for kb_id in ("one", "two"):
            record_url(trigger, kb_id, url=server.url("/pairs.jsonl"))
        with working(database_url, tmp_path, "finishes", **allowed) as trainer:
            trainer.go()
            eventually(lambda: len(rows_of(owner, "SELECT FROM ledger.run WHERE state = 'completed'")) == 2, seconds=60)
        assert len(server.paths()) == 2
    assert (count(owner, "ledger.dataset"), count(owner, "ledger.dataset_chunk")) == (1, 1)


REFUSED = [
    (answer(b"gone", 404), {}, "url_not_found", "404"),
    (answer(b"no", 403), {}, "url_forbidden", "login"),
    (answer(b"<html>"), {}, "unknown_format", "web page"),
    (answer(b'{"prompt": "a", "chosen": "b"}\n'), {}, "invalid_dataset", "line 1: rejected is missing"),
    (answer(b"[]"), {}, "invalid_dataset", "no rows"),
    (answer(b" " * (2**20 + 1)), {"max_dataset_size_mb": 1}, "dataset_too_large", "1048576"),
    (answer(gzip.compress(bytes(2**22))), {"max_dataset_size_mb": 3}, "dataset_", ""),
    (redirect("http://169.254.169.254/latest/meta-data"), {}, "url_refused_address", "169.254.169.254"),
    (answer(jsonl(PAIRS)), {"fetch_allow": ()}, "url_refused_port", "port"),
    (answer(b"", 500), {"fetch_deadline": timedelta(seconds=1)}, "fetch_failed", "500"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "fields", "code", "words"), REFUSED, ids=[f"{code}-{words}" for *_, code, words in REFUSED]
)
def test_what_cannot_be_fetched_or_read_fails_its_run_at_once_with_a_sentence(
    engine, database_url, tmp_path, script, fields, code, words
):
    owner = engine(None)
    with serving(script) as (server, allowed):
        record_url(engine("trigger"), url=server.url("/pairs.jsonl?s3cr3t"))
        with working(database_url, tmp_path, "finishes", **{**allowed, **fields}) as trainer:
            error = failed(owner)
            assert not (trainer.control / "pid").exists(), "no training was started"
    assert error["code"].startswith(code)
    assert words in error["message"]
    assert "s3cr3t" not in str(error)
    assert (the_run(owner).attempt, the_run(owner).strikes) == (1, 0)
    assert the_types(owner) == ["run.requested", "run.started", "run.failed"]
    assert count(owner, "ledger.dataset") == 0


def test_a_private_address_is_refused_where_nobody_allowed_it(engine, database_url, tmp_path):
    owner = engine(None)
    with serving(answer(jsonl(PAIRS))) as (server, _):
        record_url(engine("trigger"), url=server.url("/pairs.jsonl"))
        with working(database_url, tmp_path, "finishes", fetch_ports=(server.port,)):
            assert failed(owner)["code"] == "url_refused_address"
        assert server.connections == 0


@pytest.mark.parametrize("way", ["cancelled", "released", "lost"])
def test_a_slow_fetch_ends_as_soon_as_the_attempt_has_to(engine, database_url, tmp_path, way):
    trigger, owner = engine("trigger"), engine(None)
    slow = in_pieces(answer(jsonl(PAIRS))[:150], b"", b"", pause=60)
    with serving(slow) as (server, allowed):
        run_id = record_url(trigger, url=server.url("/pairs.jsonl"))
        with working(database_url, tmp_path, "finishes", **allowed) as trainer:
            eventually(lambda: (the_run(owner).progress or {}).get("phase") == "fetching")
            eventually(lambda: server.connections == 1)
            trainer.slot.close()
            if way == "cancelled":
                cancel(trigger, run_id)
            elif way == "lost":
                change(owner, "UPDATE ledger.run SET attempt = 2, lease_owner = 'another'")
            if way != "released":
                eventually(lambda: list((tmp_path / "staging").iterdir()) == [], seconds=20)
    expected = {"cancelled": ("cancelled", 1), "released": ("queued", 1), "lost": ("running", 2)}
    assert (the_run(owner).state, the_run(owner).attempt) == expected[way]
    assert (the_run(owner).strikes, count(owner, "ledger.dataset")) == (0, 0)
    assert list((tmp_path / "staging").glob("*")) == []


def test_a_fetch_that_is_killed_is_a_strike_and_the_next_attempt_fetches_again(engine, database_url, tmp_path):
    owner = engine(None)
    slow = in_pieces(answer(jsonl(PAIRS))[:150], b"", b"", pause=60)
    with serving(slow, answer(jsonl(PAIRS))) as (server, allowed), captured_lines() as lines:
        record_url(engine("trigger"), url=server.url("/pairs.jsonl"))
        at_once = {"max_requeue_backoff": timedelta(0)}
        with working(database_url, tmp_path, "finishes", **allowed, **at_once) as trainer:
            [started] = eventually(lambda: server.connections and lines.events("fetching.started"))
            os.kill(started["pid"], signal.SIGKILL)
            trainer.go()
            eventually(lambda: the_run(owner).state == "completed", seconds=60)
    assert the_types(owner) == ["run.requested", "run.started", "run.requeued", *FETCHED[1:], "run.completed"]
    assert the_trail(owner)[2].payload["reason"] == "child_died"


def test_a_stored_dataset_is_not_fetched_again_though_the_first_attempt_ended_before_its_training(
    engine, database_url, tmp_path
):
    """Pinned by an attempt that died at once: the second one has a recipe with its hash."""
    trigger, owner = engine("trigger"), engine(None)
    with serving(answer(jsonl(OTHERS))) as (server, allowed):
        run_id = record_url(trigger, url=server.url("/pairs.jsonl"))
        record(trigger, "other", rows=ROWS)
        change(
            owner,
            "UPDATE ledger.run SET dataset_sha256 = :sha256, recipe = recipe || jsonb_build_object('dataset_sha256',"
            " CAST(:sha256 AS text)) WHERE id = :id",
            sha256=ROWS.sha256,
            id=run_id,
        )
        with working(database_url, tmp_path, "finishes", **allowed) as trainer:
            trainer.go()
            eventually(lambda: len(rows_of(owner, "SELECT FROM ledger.run WHERE state = 'completed'")) == 2, seconds=60)
        assert server.connections == 0


@pytest.mark.parametrize("who", ["the whole machine", "somebody"])
def test_a_fetch_that_is_stopped_with_its_trainer_is_no_strike_and_without_it_is_one(
    engine, database_url, tmp_path, who
):
    """Whoever stops a machine tells all of its processes at once, in any order."""
    owner = engine(None)
    slow = in_pieces(answer(jsonl(PAIRS))[:150], b"", b"", pause=60)
    with serving(slow) as (server, allowed), captured_lines() as lines:
        record_url(engine("trigger"), url=server.url("/pairs.jsonl"))
        with working(database_url, tmp_path, "finishes", **allowed, child_grace=timedelta(seconds=2)):
            [started] = eventually(lambda: server.connections and lines.events("fetching.started"))
            os.kill(started["pid"], signal.SIGTERM)
            eventually(lambda: not alive(started["pid"]))
            if who == "somebody":
                eventually(lambda: the_requeue(owner))
    assert (the_run(owner).state, the_run(owner).strikes) == ("queued", int(who == "somebody"))
