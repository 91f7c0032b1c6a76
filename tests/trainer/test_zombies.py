"""A trainer whose run has another attempt by now: whatever it still does changes nothing, and one line says `stale`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from oncetune.artifacts.checkpoints import checkpoint_place
from oncetune.ledger.ids import new_event_id
from oncetune.ledger.leases import finish_run
from oncetune.postgres import transaction
from tests.artifacts.given import publish_adapter
from tests.deadline import eventually
from tests.ledger.given import change, claim, record, rows_of
from tests.loglines import LogLines, captured_lines
from tests.trainer.rows import the_run
from tests.trainer.working import Working, working

UNTOLD = {"lease": timedelta(minutes=3), "renew_every": timedelta(minutes=1)}  # no heartbeat tells of the loss


@dataclass
class Zombie:
    """The trainer of attempt 1, which is over; attempt 2 has the run, or has completed it."""

    trainer: Working
    lines: LogLines
    owner: Engine
    before: object

    def is_told(self) -> bool:
        return bool(self.lines.events(outcome="stale"))


@pytest.fixture(params=["another holds the run", "another has completed the run"])
def completed(request) -> bool:
    return "completed" in request.param


@contextmanager
def _zombie(engine, database_url, folder: Path, behaviour: str, *, completed: bool, **fields) -> Iterator[Zombie]:
    """Loses its run inside; at the end of the block it is told to stop, and then the promise is looked at."""
    run_id, owner = record(engine("trigger")).run_id, engine(None)
    with captured_lines() as lines:
        with working(database_url, folder, behaviour, **fields) as trainer:
            trainer.pid()
            eventually(lambda: the_run(owner).renewals >= 1 and (the_run(owner).progress or fields))
            trainer.slot.close()
            _lose(owner, folder, completed=completed)
            zombie = Zombie(trainer, lines, owner, _seen(owner, folder))
            yield zombie
        [line] = lines.events(outcome="stale")
    assert (line["event"], line["run_id"], line["attempt"]) == ("lease.lost", str(run_id), 1)
    assert _seen(owner, folder) == zombie.before


def _lose(owner: Engine, folder: Path, *, completed: bool) -> None:
    """As after an expiry that the trainer slept through."""
    change(
        owner,
        "UPDATE ledger.run SET state = 'queued', claim_id = NULL, lease_owner = NULL, lease_expires_at = NULL,"
        " available_at = now(), progress = NULL",
    )
    lease = claim(owner, "another")
    made = folder / "made"
    made.mkdir()
    (made / "weights").write_text("of attempt 2")
    checkpoint = checkpoint_place(folder / "artifacts", lease.run_id, 2) / "10"
    checkpoint.mkdir(parents=True)
    (checkpoint / "weights").write_text("of attempt 2, step 10")
    published = publish_adapter(folder / "artifacts", lease.run_id, lease.attempt, made)
    if completed:
        ending = {"artifact_uri": published.uri, "adapter_sha256": published.adapter_sha256}
        with transaction(owner) as session:
            finish_run(session, lease, event_id=new_event_id(), state="completed", **ending)


def _seen(owner: Engine, folder: Path) -> object:
    """Every row, every adapter in its place or on its way there, and what lies in the newer attempt's folders."""
    rows = [rows_of(owner, f"SELECT * FROM ledger.{table} ORDER BY 1") for table in ("run", "outbox")]
    root = folder / "artifacts"
    shown = [*root.glob("*/*/adapter"), *root.glob("*/*.arriving"), *root.glob("*/2"), *root.glob("*/checkpoints/2")]
    files = {path: path.read_bytes() for place in shown for path in place.rglob("*") if path.is_file()}
    return rows, shown, files


def test_a_zombies_heartbeat_changes_nothing_and_is_logged_as_stale(engine, database_url, tmp_path, completed):
    with _zombie(engine, database_url, tmp_path, "waits", completed=completed) as zombie:
        eventually(zombie.is_told)


def test_a_zombies_progress_changes_nothing_and_is_logged_as_stale(engine, database_url, tmp_path, completed):
    with _zombie(engine, database_url, tmp_path, "counts", completed=completed) as zombie:
        eventually(zombie.is_told)


def test_a_zombies_checkpoint_changes_nothing_and_is_logged_as_stale(engine, database_url, tmp_path, completed):
    patient = {"child_grace": timedelta(seconds=10)}
    with _zombie(engine, database_url, tmp_path, "checkpoints", completed=completed, **patient) as zombie:
        eventually(zombie.is_told)
    run_id = the_run(zombie.owner).id
    assert (checkpoint_place(tmp_path / "artifacts", run_id, 1) / "11").is_dir(), "it wrote one, after its loss"


def test_a_zombies_upload_and_finish_change_nothing_and_are_logged_as_stale(engine, database_url, tmp_path, completed):
    with _zombie(engine, database_url, tmp_path, "finishes", completed=completed, **UNTOLD) as zombie:
        zombie.trainer.go()
        eventually(zombie.is_told)


def test_a_zombies_failure_changes_nothing_and_is_logged_as_stale(engine, database_url, tmp_path, completed):
    with _zombie(engine, database_url, tmp_path, "refuses", completed=completed, **UNTOLD) as zombie:
        zombie.trainer.go()
        eventually(zombie.is_told)


def test_a_zombies_dead_child_changes_nothing_and_is_logged_as_stale(engine, database_url, tmp_path, completed):
    with _zombie(engine, database_url, tmp_path, "dies", completed=completed, **UNTOLD) as zombie:
        zombie.trainer.go()
        eventually(zombie.is_told)


def test_a_zombies_release_changes_nothing_and_is_logged_as_stale(engine, database_url, tmp_path, completed):
    with _zombie(engine, database_url, tmp_path, "waits", completed=completed, **UNTOLD):
        pass  # told to stop: the end of the block
