"""A child ends as a whole, whether it is polite, stubborn, or has children of its own."""

import os
import signal
from datetime import timedelta

import pytest

from oncetune.trainer.child import Child
from oncetune.trainer.child_environment import plain_environment
from tests.deadline import eventually
from tests.trainer.working import alive, command

GRACE = timedelta(seconds=0.3)


def _child(folder, behaviour, said=lambda _progress: None):
    attempt = folder / "attempt"
    attempt.mkdir(exist_ok=True)
    start = command(behaviour, folder / "control")
    return Child(start, attempt, environment=plain_environment(), grace=GRACE, max_log_bytes=1000, on_progress=said)


def _told(folder, name):
    eventually((folder / "control" / name).exists)
    return int((folder / "control" / name).read_text())


def test_a_child_that_has_ended_is_known_by_its_status_and_its_last_word(tmp_path):
    said = []
    with _child(tmp_path, "finishes", said.append) as child:
        assert child.wait(0.01) is None
        (tmp_path / "control" / "go").touch()
        assert eventually(lambda: (status := child.wait(0.01)) is not None and (status,)) == (0,)
        assert [progress.step for progress in said] == [1, 4], "all it said was read by then"
        assert child.result.metrics["loss"] == 0.5


@pytest.mark.parametrize("behaviour", ["waits", "stubborn"])
def test_leaving_the_block_ends_a_child_that_is_polite_and_one_that_is_not(tmp_path, behaviour):
    with _child(tmp_path, behaviour) as child:
        pid = _told(tmp_path, "pid")
        assert pid == child.pid
        assert alive(pid)
    assert not alive(pid)


def test_what_a_child_has_started_ends_with_it(tmp_path):
    with _child(tmp_path, "grandchild"):
        grandchild = _told(tmp_path, "grandchild")
        assert alive(grandchild)
    eventually(lambda: not alive(grandchild))


def test_what_a_dead_child_leaves_behind_is_ended_too_and_holds_nobody_up(tmp_path):
    """The grandchild keeps the child's standard output open: its end is not waited for."""
    with _child(tmp_path, "grandchild") as child:
        grandchild = _told(tmp_path, "grandchild")
        (tmp_path / "control" / "go").touch()
        assert eventually(lambda: (status := child.wait(0.01)) is not None and (status,)) == (0,)
        assert child.result is not None
        assert alive(grandchild)
    eventually(lambda: not alive(grandchild))


def test_a_descendant_that_left_the_group_holds_nobody_up(tmp_path):
    with _child(tmp_path, "escapee"):
        grandchild = _told(tmp_path, "grandchild")
    try:
        assert alive(grandchild), "it lives on, with the child's standard output in hand, and we went on"
    finally:
        os.kill(grandchild, signal.SIGKILL)


def test_a_child_ends_when_its_standard_input_does(tmp_path):
    with _child(tmp_path, "stubborn") as child:
        pid = _told(tmp_path, "pid")
        child._process.stdin.close()
        eventually(lambda: not alive(pid))


def test_what_a_child_printed_is_kept_when_the_next_one_of_the_attempt_prints(tmp_path):
    """The traceback of a look at the rows that failed, before a training."""
    (tmp_path / "attempt").mkdir()
    (tmp_path / "attempt" / "training.log").write_text("a traceback\n")
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / "go").touch()
    with _child(tmp_path, "dies") as child:
        eventually(lambda: child.wait(0.01) is not None)
    assert (tmp_path / "attempt" / "training.log").read_text() == "a traceback\nCUDA out of memory\n"
