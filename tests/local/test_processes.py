"""Start, watch, stop: real programs."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from oncetune.local.preflight import CannotStart
from oncetune.local.processes import Processes
from oncetune.local.signals import Interrupted, Signals
from tests.deadline import eventually
from tests.local.programs import FOREVER, STUBBORN, carrying, python

SOON = timedelta(seconds=20)


@pytest.fixture
def signals() -> Signals:
    return Signals()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def processes(tmp_path: Path, signals: Signals, told: list[str]) -> Iterator[Processes]:
    running = Processes(tmp_path, signals=signals, tell=told.append)
    yield running
    running.stop()


def said_up(folder: Path, name: str) -> bool:
    log = folder / f"{name}.log"
    return log.exists() and b"up" in log.read_bytes()


def test_dependents_stop_before_what_they_depend_on(processes: Processes, tmp_path: Path) -> None:
    order = tmp_path / "order"
    for name, stage in (("base", 0), ("middle", 1), ("top", 2)):
        code = (
            f"import signal, sys\ndef end(*_):\n open({str(order)!r}, 'a').write({name!r} + ' '); sys.exit()\n"
            "signal.signal(15, end)\nprint('up')\nsignal.pause()\nsignal.pause()"
        )
        processes.start(python(name, code, stage=stage))
        eventually(lambda name=name: said_up(tmp_path, name))
    processes.stop()
    assert order.read_text().split() == ["top", "middle", "base"]
    assert processes.pids() == {}


def test_a_program_that_dies_is_started_again_and_a_person_hears_of_it(processes: Processes, told: list[str]) -> None:
    processes.start(python("service", FOREVER))
    processes.watch()
    first = processes.pids()["service"]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: processes.pids().get("service", first) != first)
    assert told == ["service ended (signal SIGKILL); starting it again"]


def test_a_program_that_ignores_the_polite_signal_is_killed_after_its_grace(
    processes: Processes, tmp_path: Path
) -> None:
    processes.start(python("stubborn", STUBBORN, grace=timedelta(seconds=0.2)))
    eventually(lambda: said_up(tmp_path, "stubborn"))
    processes.stop()
    assert processes.pids() == {}


def test_a_second_signal_does_not_wait_for_the_grace(processes: Processes, tmp_path: Path, signals: Signals) -> None:
    processes.start(python("stubborn", STUBBORN, grace=timedelta(hours=1)))
    eventually(lambda: said_up(tmp_path, "stubborn"))
    with signals.heard():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    processes.stop()  # would take an hour
    assert processes.pids() == {}


def test_a_signal_ends_every_wait_and_starts_nothing_more(
    processes: Processes, tmp_path: Path, signals: Signals
) -> None:
    processes.start(python("service", FOREVER))
    with signals.heard():
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Interrupted):
        processes.wait_until(lambda: False, program="service", deadline=timedelta(hours=1), what="never")
    with pytest.raises(Interrupted):
        processes.start(python("another", FOREVER))
    assert not (tmp_path / "another.log").exists()


def test_a_program_that_ends_while_it_starts_shows_the_end_of_its_log(processes: Processes, tmp_path: Path) -> None:
    processes.start(python("broken", "import sys; sys.exit('the disk is on fire')"))
    with pytest.raises(CannotStart) as failure:
        processes.wait_until(lambda: False, program="broken", deadline=SOON, what="broken")
    assert "the disk is on fire" in failure.value.what
    assert str(tmp_path / "broken.log") in failure.value.remedy


def test_a_program_that_does_not_get_ready_is_given_up_after_its_deadline(processes: Processes) -> None:
    processes.start(python("slow", FOREVER))
    with pytest.raises(CannotStart, match="did not come within"):
        processes.wait_until(lambda: False, program="slow", deadline=timedelta(seconds=0.1), what="an answer")


def test_a_program_that_is_run_to_its_end_is_not_started_again(processes: Processes, tmp_path: Path) -> None:
    processes.watch()
    processes.run(python("once", "print('done')", output=tmp_path / "answer"), deadline=SOON)
    assert (tmp_path / "answer").read_text() == "done\n"
    assert processes.pids() == {}
    with pytest.raises(CannotStart, match="exit code 7"):
        processes.run(python("fails", "import sys; sys.exit(7)"), deadline=SOON)


def test_a_warning_of_a_service_is_shown_once_and_the_rest_stays_in_its_log(
    processes: Processes, told: list[str]
) -> None:
    code = (
        "import json, signal\n"
        "print('no JSON')\n"
        "print(json.dumps({'level': 'info', 'event': 'service.started'}))\n"
        "for _ in range(3): print(json.dumps({'level': 'warning', 'event': 'lease.lost', 'run_id': '7'}))\n"
        "print(json.dumps({'level': 'error', 'event': 'the.end'}))\n"
        "signal.pause()"
    )
    processes.start(python("trainer", code, speaks=True))
    processes.watch()
    eventually(lambda: "trainer: error: the.end" in told)
    assert told == ["trainer: warning: lease.lost run_id=7", "trainer: error: the.end"]


def test_programs_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    code = f"""
import signal
from pathlib import Path
from oncetune.local.processes import Processes
from oncetune.local.signals import Signals
from tests.local.programs import STUBBORN, python
Processes(Path({str(tmp_path)!r}), signals=Signals(), tell=print).start(python("orphan", STUBBORN))
signal.pause()
"""
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "MARK": mark, "PYTHONPATH": _paths()})
    eventually(lambda: said_up(tmp_path, "orphan"))
    assert len(carrying(mark)) == 2
    parent.kill()
    parent.wait()
    eventually(lambda: not carrying(mark))


def _paths() -> str:
    return os.pathsep.join(path for path in sys.path if path)
