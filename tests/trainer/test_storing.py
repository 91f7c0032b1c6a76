"""A finished adapter and a folder that refuses it: worth waiting for, not worth another training."""

from datetime import timedelta

import pytest

from oncetune.ledger.requests import request_cancel
from oncetune.postgres import transaction
from tests.chaos.disks import disk
from tests.chaos.ground import Part, missing_parts
from tests.deadline import eventually
from tests.ledger.given import record
from tests.loglines import captured_lines
from tests.trainer.rows import the_run, the_trail, the_types
from tests.trainer.working import working


@pytest.fixture
def refusing(tmp_path):
    """A file in the place of the folder."""
    place = tmp_path / "artifacts"
    place.write_text("in the way")
    return place


def _completed_at_once(owner) -> bool:
    return (the_run(owner).state, the_run(owner).attempt, the_types(owner)) == (
        "completed",
        1,
        ["run.requested", "run.started", "run.completed"],
    )


def test_an_adapter_waits_for_its_folder_under_a_living_lease_and_is_not_trained_again(
    engine, database_url, tmp_path, refusing
):
    record(engine("trigger"))
    owner = engine(None)
    short = {"lease": timedelta(seconds=0.6), "renew_every": timedelta(seconds=0.05)}
    with captured_lines() as lines, working(database_url, tmp_path, "finishes", **short) as trainer:
        trainer.go()
        eventually(lambda: lines.events("adapter.not_stored", attempt=1, reason="Not a directory"))
        renewals = the_run(owner).renewals
        eventually(lambda: the_run(owner).renewals > renewals + 15)
        assert (the_run(owner).state, the_run(owner).attempt) == ("running", 1)
        refusing.unlink()
        eventually(lambda: _completed_at_once(owner))
        assert len(trainer.adapters()) == 1
    assert (tmp_path / "artifacts" / str(the_run(owner).id) / "1" / "training.log").exists()


@pytest.mark.parametrize("megabytes", [2] * (Part.DISKS not in missing_parts()))
def test_an_adapter_waits_for_room_on_a_full_disk(engine, database_url, tmp_path, megabytes):
    record(engine("trigger"))
    owner, root = engine(None), tmp_path / "artifacts"
    root.mkdir()
    with (
        disk(root, megabytes=megabytes) as beneath,
        captured_lines() as lines,
        working(database_url, tmp_path, "finishes") as trainer,
    ):
        trainer.pid()
        (root / "neighbour").write_text("takes the page that an empty disk would keep")
        with beneath.full():
            trainer.go()
            [refused] = eventually(lambda: lines.events("adapter.not_stored", attempt=1))
            assert "No space left on device" in refused["reason"]
        eventually(lambda: _completed_at_once(owner))


def test_an_adapter_that_cannot_be_stored_for_long_says_so_and_waits_for_the_disk_without_a_strike(
    engine, database_url, tmp_path, refusing
):
    record(engine("trigger"))
    owner = engine(None)
    grace = timedelta(seconds=0.3)
    with captured_lines() as lines, working(database_url, tmp_path, "finishes", disk_grace=grace) as trainer:
        trainer.go()
        eventually(lambda: the_types(owner)[-1] == "run.requeued")
        assert len(lines.events("adapter.not_stored", attempt=1)) == 2, "at once, and when the grace was over"
    run, told = the_run(owner), the_trail(owner)[-1].payload
    assert (run.state, run.strikes, told["reason"]) == ("queued", 0, "not_stored")
    assert run.available_at > run.started_at


def test_a_cancel_ends_the_wait_for_a_disk(engine, database_url, tmp_path, refusing):
    run_id, owner = record(engine("trigger")).run_id, engine(None)
    with captured_lines() as lines, working(database_url, tmp_path, "finishes") as trainer:
        trainer.go()
        eventually(lambda: lines.events("adapter.not_stored"))
        with transaction(engine("trigger")) as session:
            request_cancel(session, run_id, requested_by="ann")
        eventually(lambda: the_run(owner).state == "cancelled")
    assert (the_run(owner).artifact_uri, trainer.adapters()) == (None, [])


def test_a_stop_ends_the_wait_for_a_disk_and_gives_the_run_back(engine, database_url, tmp_path, refusing):
    record(engine("trigger"))
    owner = engine(None)
    grace = timedelta(seconds=5)
    with captured_lines() as lines, working(database_url, tmp_path, "finishes", disk_grace=grace) as trainer:
        trainer.go()
        eventually(lambda: lines.events("adapter.not_stored"))
    assert (the_run(owner).state, the_run(owner).strikes) == ("queued", 0)
    assert the_trail(owner)[-1].payload["reason"] == "released"
