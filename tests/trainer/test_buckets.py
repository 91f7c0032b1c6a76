"""Results in a bucket: a server that is away or refuses is a disk that refuses; the sweep and retention work there."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from oncetune.artifacts.bucket import BucketStore
from oncetune.artifacts.folder import FolderStore
from oncetune.artifacts.store import Bucket
from oncetune.ledger.ids import new_event_id
from oncetune.ledger.leases import finish_run
from oncetune.ledger.sweep import retire_results
from oncetune.postgres import transaction
from oncetune.trainer.sweep import sweep
from tests.artifacts.given import publish_to
from tests.artifacts.s3 import BUCKET
from tests.deadline import eventually
from tests.ledger.given import change, claim, record
from tests.loglines import captured_lines
from tests.trainer.rows import the_run, the_trail, the_types
from tests.trainer.working import working

PLACE = Bucket(BUCKET, "of")
LONG_AGO = "UPDATE ledger.run SET finished_at = now() - interval '8 days'"


@pytest.fixture
def bucket(s3):
    return BucketStore(PLACE)


@pytest.fixture
def adapter(tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "weights").write_text("w")
    return tmp_path / "made"


def completed(trigger: Engine, trainer: Engine, store, adapter, kb_id: str = "kb") -> UUID:
    run_id = record(trigger, kb_id).run_id
    lease = claim(trainer, run_id=run_id)
    published = publish_to(store, run_id, 1, adapter, training_log=adapter / "weights")
    ending = {"artifact_uri": published.uri, "adapter_sha256": published.adapter_sha256}
    with transaction(trainer) as session:
        finish_run(session, lease, event_id=new_event_id(), state="completed", **ending)
    return run_id


def test_a_result_goes_to_the_bucket_and_checkpoints_beside_the_staging(engine, database_url, tmp_path, s3):
    run_id, owner = record(engine("trigger")).run_id, engine(None)
    with working(database_url, tmp_path, "checkpoints", artifacts=PLACE) as trainer:
        trainer.pid()
        eventually(lambda: list((tmp_path / "checkpoints").glob("*/checkpoints/1/10/weights")))
        trainer.go()
        eventually(lambda: the_run(owner).state == "completed")
    run = the_run(owner)
    assert run.artifact_uri == f"s3://{BUCKET}/of/{run_id}/1/adapter"
    names = {name.removeprefix(f"of/{run_id}/1/") for name in s3.objects()}
    assert names == {"adapter/adapter_model.safetensors", "adapter.tar", "training.log"}
    assert run.files.keys() == {"adapter.tar", "training.log"}


def test_an_adapter_waits_for_a_server_that_was_killed_and_is_not_trained_again(engine, database_url, tmp_path, s3):
    record(engine("trigger"))
    owner = engine(None)
    with captured_lines() as lines, working(database_url, tmp_path, "finishes", artifacts=PLACE) as trainer:
        trainer.pid()
        s3.kill()
        trainer.go()
        [refused] = eventually(lambda: lines.events("adapter.not_stored", attempt=1), seconds=30)
        assert refused["reason"] == f"s3://{BUCKET}/of refuses: its server does not answer"
        assert the_run(owner).state == "running"
        s3.start()
        eventually(lambda: the_run(owner).state == "completed", seconds=30)
    assert (the_run(owner).attempt, the_types(owner)[-1]) == (1, "run.completed")


def test_a_bucket_that_denies_for_long_is_not_stored_and_no_strike(engine, database_url, tmp_path, s3, monkeypatch):
    record(engine("trigger"))
    owner = engine(None)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    grace = timedelta(seconds=0.3)
    with (
        captured_lines() as lines,
        working(database_url, tmp_path, "finishes", artifacts=PLACE, disk_grace=grace) as trainer,
    ):
        [told] = eventually(lambda: lines.events("artifacts.away"))
        trainer.go()
        eventually(lambda: the_types(owner)[-1] == "run.requeued", seconds=30)
    assert told["place"] == f"s3://{BUCKET}/of", "said at the start already"
    assert "SignatureDoesNotMatch" in told["reason"]
    assert (the_run(owner).strikes, the_trail(owner)[-1].payload["reason"]) == (0, "not_stored")
    assert s3.objects() == {}


def test_a_failed_run_keeps_its_log_in_the_bucket(engine, database_url, tmp_path, s3):
    run_id, owner = record(engine("trigger")).run_id, engine(None)
    with working(database_url, tmp_path, "refuses", artifacts=PLACE) as trainer:
        trainer.go()
        eventually(lambda: the_run(owner).state == "failed")
    assert set(s3.objects()) == {f"of/{run_id}/1/training.log"}
    assert the_run(owner).files.keys() == {"training.log"}


def test_adapters_of_lost_attempts_are_swept_from_the_bucket(engine, bucket, tmp_path, adapter):
    trigger, trainer = engine("trigger"), engine("trainer")
    shown = completed(trigger, trainer, bucket, adapter)
    lost = record(trigger, "lost").run_id
    publish_to(bucket, lost, 0, adapter)
    for _ in range(2):
        sweep(trainer, bucket, tmp_path / "checkpoints", batch=1)
    assert dict(bucket.places()) == {shown: {1}}


@pytest.mark.parametrize("where", ["bucket", "folder"])
def test_results_are_removed_so_long_after_the_runs_end_and_no_sooner(engine, request, tmp_path, adapter, where):
    store = request.getfixturevalue("bucket") if where == "bucket" else FolderStore(tmp_path / "artifacts")
    trigger, trainer, owner = engine("trigger"), engine("trainer"), engine(None)
    old = [completed(trigger, trainer, store, adapter, f"old{n}") for n in range(3)]
    change(owner, LONG_AGO)
    young = completed(trigger, trainer, store, adapter, "young")
    sweep(trainer, store, tmp_path / "checkpoints", batch=2)
    assert set(dict(store.places())) == {*old, young}, "without the setting for ever"
    sweep(trainer, store, tmp_path / "checkpoints", batch=2, kept=timedelta(days=7))
    assert dict(store.places()) == {young: {1}}
    with owner.connect() as connection:
        removed = connection.execute(text("SELECT id FROM ledger.run WHERE files_removed_at IS NOT NULL")).scalars()
        assert set(removed) == set(old)


def test_a_removal_that_was_cut_off_goes_on_with_the_next_sweep_of_anybody(engine, bucket, tmp_path, adapter):
    trigger, trainer = engine("trigger"), engine("trainer")
    completed(trigger, trainer, bucket, adapter)
    change(engine(None), LONG_AGO)
    with transaction(trainer) as session:
        assert retire_results(session, limit=10, kept=timedelta(days=7)) == 1
        assert retire_results(session, limit=10, kept=timedelta(days=7)) == 0
    sweep(trainer, bucket, tmp_path / "checkpoints", batch=2)  # no such setting here
    assert dict(bucket.places()) == {}


def test_a_cancelled_runs_checkpoint_goes_with_its_results(engine, tmp_path, adapter):
    trigger, trainer, root = engine("trigger"), engine("trainer"), tmp_path / "checkpoints"
    run_id = completed(trigger, trainer, FolderStore(tmp_path / "artifacts"), adapter)
    (root / str(run_id) / "checkpoints" / "1" / "10").mkdir(parents=True)
    change(engine(None), "UPDATE ledger.run SET state = 'cancelled', artifact_uri = NULL, adapter_sha256 = NULL")
    change(engine(None), f"{LONG_AGO}, checkpoint_step = 10")
    sweep(trainer, FolderStore(tmp_path / "artifacts"), root, batch=2, kept=timedelta(days=7))
    assert not (root / str(run_id) / "checkpoints").exists()
    assert the_run(engine(None)).checkpoint_step is None
