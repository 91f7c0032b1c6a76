"""A run that can never end well ends badly, by its strikes; what somebody else did to it is none."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.chaos.disks import disk
from tests.chaos.ground import Part, missing_parts
from tests.deadline import eventually
from tests.ledger.given import change, record
from tests.loglines import captured_lines
from tests.trainer.rows import the_requeue, the_run, the_trail
from tests.trainer.working import working

_BEGIN = """
import json, os, pathlib, sys, threading
folder = pathlib.Path(sys.argv[1])
adapter = folder / "adapter"
def say(**line):
    print(json.dumps(line), flush=True)
def adapt():
    adapter.mkdir()
    (adapter / "weights").write_text("w")
def finish():
    say(kind="finished", metrics={})
say(kind="progress", step=1, steps=4, loss=1.0)
"""
_FILL = """
try:
    with (folder / "big").open("wb", buffering=0) as big:
        while True:
            big.write(bytes(65536))
except OSError:
    os.kill(os.getpid(), 9)
"""
_POISON = {
    "a link to nowhere": """adapt(); (adapter / "more").symlink_to("nowhere"); finish()""",
    "a link to a file": """adapt(); (adapter / "more").symlink_to("/etc/hostname"); finish()""",
    "a link as adapter": """adapt(); adapter.rename(folder / "real"); adapter.symlink_to("real"); finish()""",
    "a pipe": """adapt(); os.mkfifo(adapter / "more"); finish()""",
    "a name of two lines": """adapt(); (adapter / "a\\nb").touch(); finish()""",
    "a name in no alphabet": """adapt(); open(os.fsencode(adapter) + b"/\\xff", "w").close(); finish()""",
    "a folder too deep": """adapt(); os.chdir(adapter)
for _ in range(6):
    os.mkdir("d" * 200)
    os.chdir("d" * 200)
finish()""",
    "an exit that says it was stopped": "sys.exit(4)",
    "a folder of its own that it took away": "import shutil; shutil.rmtree(folder); sys.exit(1)",
}


def _program(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", _BEGIN + text)


@contextmanager
def _staging_disk(folder: Path, *, megabytes: int = 8, inodes: int | None = None) -> Iterator[Path]:
    """The staging folder of the trainer that works in `folder`, as a small disk, and maybe one of few files."""
    staging = folder / "staging"
    staging.mkdir()
    with disk(staging, megabytes=megabytes):
        if inodes is not None:
            subprocess.run(["mount", "-o", f"remount,nr_inodes={inodes}", str(staging)], check=True)
        yield staging


def _open(fifo: Path) -> bool:
    """Let its reader go on; False while there is none."""
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def _strikes_out(owner, lines) -> None:
    """All of it without waiting for backoffs; and for no disk, which has a grace of minutes."""

    def ended() -> bool:
        change(owner, "UPDATE ledger.run SET available_at = now() WHERE state = 'queued'")
        return the_run(owner).state == "failed" or the_run(owner).attempt > 2

    eventually(ended, seconds=30, every=0.1)
    assert (the_run(owner).state, the_run(owner).attempt, the_run(owner).strikes) == ("failed", 2, 2)
    assert "child_died" in the_run(owner).error["message"]
    assert lines.events("adapter.not_stored") == []


@pytest.mark.parametrize("poison", _POISON)
def test_a_child_that_can_never_end_well_is_tried_as_often_as_the_strikes_allow(engine, database_url, tmp_path, poison):
    record(engine("trigger"))
    command = _program(_POISON[poison])
    with captured_lines() as lines, working(database_url, tmp_path, "", training_command=command, max_strikes=2):
        _strikes_out(engine(None), lines)


@pytest.mark.parametrize("megabytes", [8] * (Part.DISKS not in missing_parts()))
def test_a_child_that_fills_its_disk_alone_is_at_fault(engine, database_url, tmp_path, megabytes):
    record(engine("trigger"))
    command = _program(_FILL)
    with (
        _staging_disk(tmp_path, megabytes=megabytes),
        captured_lines() as lines,
        working(database_url, tmp_path, "", training_command=command, max_strikes=2),
    ):
        _strikes_out(engine(None), lines)


@pytest.mark.parametrize("megabytes", [8] * (Part.DISKS not in missing_parts()))
def test_a_child_whose_disk_a_neighbour_filled_is_not_at_fault_whatever_it_wrote_itself(
    engine, database_url, tmp_path, megabytes
):
    record(engine("trigger"))
    owner = engine(None)
    command = _program(
        """(folder / "mine").write_bytes(bytes(2 * 2**20))
os.mkfifo(folder.parent / "full")
(folder.parent / "wrote").touch()
(folder.parent / "full").read_bytes()  # until the neighbour has written
"""
        + _FILL
    )
    with (
        _staging_disk(tmp_path, megabytes=megabytes) as staging,
        working(database_url, tmp_path, "", training_command=command),
    ):
        eventually((staging / "wrote").exists)
        (staging / "neighbour").write_bytes(bytes(5 * 2**20))
        eventually(lambda: _open(staging / "full"))
        requeue = eventually(lambda: the_requeue(owner))
    assert (requeue.payload["strikes"], requeue.payload["reason"]) == (0, "not_stored")


def _queued_again_untrained(engine, database_url, tmp_path, *, inodes):
    """How a run is queued again whose staging disk has room for so many files."""
    record(engine("trigger"))
    owner = engine(None)
    with (
        _staging_disk(tmp_path, inodes=inodes),
        captured_lines() as lines,
        working(database_url, tmp_path, "waits"),
    ):
        requeue = eventually(lambda: the_requeue(owner))
        assert lines.events("training.started") == []
    return requeue.payload


@pytest.mark.parametrize("inodes", [4] * (Part.DISKS not in missing_parts()))
def test_a_disk_that_takes_no_log_is_no_strike(engine, database_url, tmp_path, inodes):
    """It takes itself, the attempt's folder and two files: the log is the next."""
    requeue = _queued_again_untrained(engine, database_url, tmp_path, inodes=inodes)
    assert (requeue["strikes"], requeue["reason"]) == (0, "not_stored")


@pytest.mark.parametrize("inodes", [5] * (Part.DISKS not in missing_parts()))
def test_a_look_that_finds_the_disk_full_is_not_followed_by_a_training_without_its_rows(
    engine, database_url, tmp_path, inodes
):
    """The look has its log and no place for its report; to see whose fault that is, the trainer empties the folder."""
    requeue = _queued_again_untrained(engine, database_url, tmp_path, inodes=inodes)
    assert requeue["reason"] == "child_died"


def test_a_child_that_was_stopped_a_moment_before_its_trainer_is_no_strike(engine, database_url, tmp_path):
    """As by a system that stops every process of a service at once."""
    record(engine("trigger"))
    owner = engine(None)
    command = _program(
        """import signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(4))
(folder.parent / "pid").write_text(str(os.getpid()))
threading.Event().wait(60)
"""
    )
    grace = timedelta(seconds=20)
    with working(database_url, tmp_path, "", training_command=command, child_grace=grace):
        told = tmp_path / "staging" / "pid"
        pid = eventually(lambda: told.exists() and told.read_text())
        os.kill(int(pid), signal.SIGTERM)
        eventually(lambda: not Path("/proc", pid).exists())
    assert (the_run(owner).state, the_run(owner).strikes) == ("queued", 0)
    assert the_trail(owner)[-1].payload["reason"] == "released"


_LAST_WORDS = {
    "completed": "adapt(); finish()",
    "failed": """say(kind="refused", code="no_rows", message="There is none.")""",
}


@pytest.mark.parametrize("state", _LAST_WORDS)
def test_a_child_that_hangs_after_its_last_word_is_ended_and_the_word_counts(engine, database_url, tmp_path, state):
    record(engine("trigger"))
    owner = engine(None)
    command = _program(_LAST_WORDS[state] + "\nthreading.Event().wait(600)\n")
    with working(database_url, tmp_path, "", training_command=command) as trainer:
        eventually(lambda: the_run(owner).state == state)
        assert trainer.adapters() == [f"{the_run(owner).id}/1"] * (state == "completed")
    assert (the_run(owner).attempt, the_run(owner).strikes) == (1, 0)
    assert (the_run(owner).error or {}).get("code") == (None if state == "completed" else "no_rows")


def test_a_cancel_beats_the_last_word_of_a_child_that_hangs(engine, database_url, tmp_path):
    record(engine("trigger"))
    owner = engine(None)
    command = _program("adapt(); finish(); threading.Event().wait(600)")
    grace = timedelta(seconds=5)
    with working(database_url, tmp_path, "", training_command=command, child_grace=grace) as trainer:
        eventually(lambda: the_run(owner).progress)
        change(owner, "UPDATE ledger.run SET cancel_requested_at = now()")
        eventually(lambda: the_run(owner).state == "cancelled")
        assert trainer.adapters() == []
