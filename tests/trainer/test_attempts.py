"""An attempt from its claim to its end, for every way in which a child can end and a run can be lost."""

import json
from datetime import timedelta

import pytest

from oncetune.ledger.requests import request_cancel
from oncetune.postgres import transaction
from tests.deadline import eventually
from tests.ledger.given import change, claim, record, rows_of
from tests.loglines import captured_lines
from tests.outage import database_away
from tests.trainer.working import alive, working


def _run(owner):
    return rows_of(owner, "SELECT * FROM ledger.run")[0]


def _trail(owner):
    rows = rows_of(owner, "SELECT position, type, payload FROM ledger.outbox ORDER BY position")
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))
    return [row for row in rows if row.type != "run.progress"]


def _types(owner):
    return [row.type for row in _trail(owner)]


def test_a_run_is_trained_published_and_completed(engine, database_url, tmp_path):
    run_id, owner = record(engine("trigger")).run_id, engine(None)
    with working(database_url, tmp_path, "finishes") as trainer:
        trainer.go()
        eventually(lambda: _run(owner).state == "completed")
    run = _run(owner)
    assert run.metrics == {"loss": 0.5, "not_a_number": None, "nul": "a\ufffdb"}
    assert run.artifact_uri == (tmp_path / "artifacts" / str(run_id) / "1" / "adapter").as_uri()
    assert (run.attempt, run.strikes, len(run.adapter_sha256)) == (1, 0, 64)
    assert _types(owner) == ["run.requested", "run.started", "run.completed"]
    assert (tmp_path / "artifacts" / str(run_id) / "1" / "training.log").exists()
    assert list((tmp_path / "staging").glob("*/*")) == []


def test_progress_reaches_the_run_and_becomes_at_most_twenty_events(engine, database_url, tmp_path):
    """Of a child, even, that counts five times beyond its steps."""
    record(engine("trigger"))
    owner = engine(None)
    with working(database_url, tmp_path, "counts", renew_every=timedelta(milliseconds=10)) as trainer:
        eventually(lambda: (_run(owner).progress or {}).get("step") == 100)
        progress = _run(owner).progress
        trainer.go()
        eventually(lambda: _run(owner).state == "completed")
    assert (progress["steps"], progress["loss"], progress["seconds_left"]) == (20, 0.01, 1.5)
    events = rows_of(owner, "SELECT payload FROM ledger.outbox WHERE type = 'run.progress' ORDER BY position")
    assert 2 <= len(events) <= 20
    steps = [event.payload["step"] for event in events]
    assert steps == sorted(steps)


def test_a_cancel_stops_the_child_at_the_next_heartbeat(engine, database_url, tmp_path):
    run_id, owner = record(engine("trigger")).run_id, engine(None)
    with working(database_url, tmp_path, "waits") as trainer:
        child = trainer.pid()
        with transaction(engine("trigger")) as session:
            request_cancel(session, run_id, requested_by="ann")
        eventually(lambda: _run(owner).state == "cancelled")
        assert not alive(child)
    assert _types(owner) == ["run.requested", "run.started", "run.cancel_requested", "run.cancelled"]


def _lose(owner, *, to):
    """The run goes to another trainer, as it would after an expiry that this one slept through."""
    change(
        owner,
        "UPDATE ledger.run SET state = 'queued', claim_id = NULL, lease_owner = NULL, lease_expires_at = NULL,"
        " available_at = now()",
    )
    assert claim(owner, to).attempt == 2


def test_a_lost_lease_kills_the_child_and_leaves_nothing_behind(engine, database_url, tmp_path):
    record(engine("trigger"))
    owner = engine(None)
    with captured_lines() as lines, working(database_url, tmp_path, "waits") as trainer:
        child = trainer.pid()
        trainer.slot.close()
        _lose(owner, to="another")
        eventually(lambda: not alive(child))
        eventually(lambda: lines.events("lease.lost"))
    assert trainer.adapters() == []
    assert (_run(owner).state, _run(owner).lease_owner, _run(owner).attempt) == ("running", "another", 2)


def test_what_a_child_finishes_after_its_lease_was_lost_never_becomes_visible(engine, database_url, tmp_path):
    record(engine("trigger"))
    owner = engine(None)
    slow = {"lease": timedelta(minutes=3), "renew_every": timedelta(minutes=1)}
    with captured_lines() as lines, working(database_url, tmp_path, "finishes", **slow) as trainer:
        trainer.pid()
        eventually(lambda: _run(owner).renewals == 1)
        trainer.slot.close()
        _lose(owner, to="another")  # no heartbeat tells of it
        trainer.go()
        eventually(lambda: lines.events("lease.lost"))
    assert trainer.adapters() == []
    assert (_run(owner).state, _run(owner).lease_owner, _run(owner).artifact_uri) == ("running", "another", None)
    assert "run.completed" not in [row.type for row in rows_of(owner, "SELECT type FROM ledger.outbox")]


@pytest.mark.parametrize("behaviour", ["waits", "stubborn"])
def test_told_to_stop_a_trainer_reaps_its_child_and_gives_the_run_back_without_a_strike(
    engine, database_url, tmp_path, behaviour
):
    record(engine("trigger"))
    owner = engine(None)
    with working(database_url, tmp_path, behaviour) as trainer:
        child = trainer.pid()
    assert not alive(child)
    run = _run(owner)
    assert (run.state, run.strikes, run.lease_owner) == ("queued", 0, None)
    assert _trail(owner)[-1].payload["reason"] == "released"
    assert claim(engine("trainer"), "next").attempt == 2, "another trainer takes it at once"


def test_a_child_that_dies_is_a_strike_and_the_run_waits_for_its_next_attempt(engine, database_url, tmp_path):
    run_id, owner = record(engine("trigger")).run_id, engine(None)
    with working(database_url, tmp_path, "dies") as trainer:
        trainer.go()
        eventually(lambda: _run(owner).state == "queued" and _run(owner).attempt == 1)
        assert trainer.pid()
    run = _run(owner)
    assert (run.strikes, run.available_at > run.started_at) == (1, True)
    assert _trail(owner)[-1].payload["reason"] == "child_died"
    log = tmp_path / "artifacts" / str(run_id) / "1" / "training.log"
    assert log.read_text() == "CUDA out of memory\n"


@pytest.mark.parametrize(("behaviour", "reason"), [("lies", "child_died"), ("adapterless", "not_stored")])
def test_an_end_without_a_result_is_no_success(engine, database_url, tmp_path, behaviour, reason):
    record(engine("trigger"))
    owner = engine(None)
    with working(database_url, tmp_path, behaviour) as trainer:
        trainer.go()
        eventually(lambda: _run(owner).strikes == 1)
    assert (_run(owner).state, _trail(owner)[-1].payload["reason"]) == ("queued", reason)


def test_the_last_strike_fails_the_run_with_its_reason(engine, database_url, tmp_path):
    record(engine("trigger"))
    owner = engine(None)
    with working(database_url, tmp_path, "dies", max_strikes=1) as trainer:
        trainer.go()
        eventually(lambda: _run(owner).state == "failed")
    assert _run(owner).error["code"] == "attempts_exhausted"
    assert "exit status -9" in _run(owner).error["message"]


def test_a_refused_recipe_fails_at_once_with_the_childs_code_and_sentence(engine, database_url, tmp_path):
    record(engine("trigger"))
    owner = engine(None)
    with working(database_url, tmp_path, "refuses") as trainer:
        trainer.go()
        eventually(lambda: _run(owner).state == "failed")
    assert _run(owner).error == {"code": "rows_too_long", "message": "Every row is too long\ufffd, use max_length."}
    assert _types(owner) == ["run.requested", "run.started", "run.failed"]


def test_a_recipe_or_a_dataset_that_cannot_be_read_fails_its_run_and_not_the_trainer(engine, database_url, tmp_path):
    trigger, owner = engine("trigger"), engine(None)
    for kb_id in ("recipe", "dataset"):
        record(trigger, kb_id)
    change(owner, """UPDATE ledger.run SET recipe = recipe || '{"algo": "magic"}' WHERE kb_id = 'recipe'""")
    change(owner, "UPDATE ledger.dataset_chunk SET content = '\\x00'")
    with working(database_url, tmp_path, "finishes") as trainer:
        states = "SELECT state FROM ledger.run WHERE state = 'failed'"
        eventually(lambda: len(rows_of(owner, states)) == 2)
        assert not (trainer.control / "pid").exists(), "no child was started for either"
    codes = {run.kb_id: run.error["code"] for run in rows_of(owner, "SELECT kb_id, error FROM ledger.run")}
    assert codes == {"recipe": "bad_recipe", "dataset": "broken_dataset"}


def test_lines_that_are_not_the_protocol_change_nothing(engine, database_url, tmp_path):
    record(engine("trigger"))
    owner = engine(None)
    with captured_lines() as lines, working(database_url, tmp_path, "garbage") as trainer:
        eventually(lambda: (_run(owner).progress or {}).get("step") == 1)
        assert _run(owner).progress["loss"] is None
        trainer.go()
        eventually(lambda: _run(owner).state == "completed")
    assert len(lines.events("child.unreadable_line")) == 9, "one for each line, the huge one included"


def test_an_adapter_that_cannot_be_stored_is_a_strike_and_says_so(engine, database_url, tmp_path):
    record(engine("trigger"))
    owner = engine(None)
    (tmp_path / "artifacts").write_text("a file in the place of the folder")
    with working(database_url, tmp_path, "finishes") as trainer:
        trainer.go()
        eventually(lambda: _run(owner).strikes == 1)
    assert (_run(owner).state, _trail(owner)[-1].payload["reason"]) == ("queued", "not_stored")


def test_a_training_program_that_cannot_be_started_is_a_strike_and_not_a_silence(engine, database_url, tmp_path):
    record(engine("trigger"))
    owner = engine(None)
    with working(database_url, tmp_path, "finishes", training_command=(str(tmp_path / "missing"),)):
        eventually(lambda: _run(owner).strikes == 1)
    assert _run(owner).state == "queued"


def test_a_child_trains_on_while_the_database_is_away_and_finishes_when_it_is_back(
    engine, administer, database_url, tmp_path
):
    record(engine("trigger"))
    owner = engine(None)
    with captured_lines() as lines, working(database_url, tmp_path, "finishes") as trainer:
        child = trainer.pid()
        with database_away(administer, database_url):
            eventually(lambda: lines.events("lease.not_renewed"))
            trainer.go()
            eventually(lambda: lines.events("attempt.not_ended"))
            assert not alive(child)
        eventually(lambda: _run(owner).state == "completed")
        eventually(lambda: lines.events("attempt.ended"))
    assert (_run(owner).attempt, _types(owner)[-1]) == (1, "run.completed")


def test_a_child_is_ended_when_the_outage_is_longer_than_lease_and_grace_and_the_run_goes_back(
    engine, administer, database_url, tmp_path
):
    record(engine("trigger"))
    owner = engine(None)
    short = {"lease": timedelta(seconds=0.3), "outage_grace": timedelta(seconds=0.1)}
    with captured_lines() as lines, working(database_url, tmp_path, "waits", **short) as trainer:
        child = trainer.pid()
        eventually(lambda: _run(owner).renewals >= 1)
        with database_away(administer, database_url):
            eventually(lambda: not alive(child))
            eventually(lambda: lines.events("attempt.not_ended"))
            trainer.slot.close()
        eventually(lambda: _run(owner).state == "queued")
        assert _run(owner).strikes == 0


def test_a_run_that_breaks_the_trainers_code_ends_by_its_lease_and_the_trainer_goes_on(engine, database_url, tmp_path):
    trigger, owner = engine("trigger"), engine(None)
    first = record(trigger, "first").run_id
    change(owner, "ALTER TABLE ledger.run ADD CONSTRAINT broken CHECK (kb_id <> 'first' OR state <> 'completed')")
    with captured_lines() as lines, working(database_url, tmp_path, "finishes") as trainer:
        trainer.go()
        [broken] = eventually(lambda: lines.events("attempt.broken"))
        second = record(trigger, "second").run_id
        eventually(lambda: rows_of(owner, "SELECT FROM ledger.run WHERE id = :id AND state = 'completed'", id=second))
    assert broken["run_id"] == str(first)
    assert rows_of(owner, "SELECT state FROM ledger.run WHERE id = :id", id=first)[0].state == "running"


def test_no_connection_is_open_between_the_heartbeats_of_a_training(engine, database_url, tmp_path):
    record(engine("trigger"))
    owner = engine(None)
    slow = {"lease": timedelta(minutes=3), "renew_every": timedelta(minutes=1)}
    mine = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'oncetune_trainer'"
    with working(database_url, tmp_path, "waits", **slow) as trainer:
        assert alive(trainer.pid())
        eventually(lambda: _run(owner).renewals == 1)
        eventually(lambda: rows_of(owner, mine) == [])


def test_no_secret_of_the_trainer_is_in_its_childs_environment(
    engine, database_url, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    record(engine("trigger"))
    secrets = ("DATABASE_URL", "DPO_GATEWAY_SHARED_SECRET", "DPO_REGISTER_SECRET", "APP_API_TOKEN", "DAPR_API_TOKEN",
               "PGPASSWORD", "ONCETUNE_TRIGGER_X", "ONCETUNE_REDIS_PASSWORD", "AWS_SECRET_ACCESS_KEY",
               "RUNPOD_API_KEY")  # fmt: skip
    for name in secrets:
        monkeypatch.setenv(name, "open-sesame")
    for name in ("HF_TOKEN", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "kept")
    with working(database_url, tmp_path, "environment") as trainer:
        environment = json.loads(trainer.told("environment"))
    assert "open-sesame" not in environment.values()
    assert environment["HF_TOKEN"] == environment["CUDA_VISIBLE_DEVICES"] == "kept"
    assert environment["ONCETUNE_MODEL_CACHE"] == str(tmp_path / "model_cache")


def test_what_a_life_before_left_in_staging_is_gone_at_the_start(database_url, tmp_path):
    old = tmp_path / "staging" / "run" / "1"
    old.mkdir(parents=True)
    with working(database_url, tmp_path, "finishes"):
        assert not old.exists()


def test_the_poll_finds_what_no_message_announced_one_run_after_the_other(engine, database_url, tmp_path):
    trigger, owner = engine("trigger"), engine(None)
    with working(database_url, tmp_path, "finishes") as trainer:
        trainer.go()
        for number in range(3):
            record(trigger, f"kb{number}")
        eventually(lambda: len(rows_of(owner, "SELECT FROM ledger.run WHERE state = 'completed'")) == 3)
        assert len(trainer.adapters()) == 3
