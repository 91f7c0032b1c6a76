"""Ctrl-C at any moment leaves nothing behind: real programs, interrupted when their logs show where they are."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from oncetune.local.cluster import forget
from tests.deadline import eventually
from tests.local.programs import carrying
from tests.stack import program_environment


@dataclass(frozen=True)
class Up:
    """A started `oncetune up`; every process of it carries `mark` in its environment."""

    process: subprocess.Popen[str]
    data: Path
    mark: str

    def wrote(self, log: str, *words: str) -> bool:
        path = self.data / "logs" / f"{log}.log"
        return path.exists() and all(word in path.read_text(errors="replace") for word in words)


@pytest.fixture(params=["direct", "sidecar"])
def up(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Up]:
    data, mark = tmp_path / "data", uuid.uuid4().hex
    words = ["up", "--data", str(data), "--port", "0", "--delivery", request.param, "--min-free-mb", "0"]
    with (tmp_path / "told").open("w") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "oncetune.cli", *words],
            env=program_environment(OMP_MARK=mark),
            stdout=told,
            stderr=told,
            text=True,
        )
    yield Up(process, data, mark)
    if process.poll() is None:
        process.kill()
        process.wait()
    eventually(lambda: not carrying(mark))
    forget(data)


MOMENTS: dict[str, Callable[[Up], bool]] = {
    "the database is made": lambda up: (up.data / "logs" / "initdb.log").exists(),
    "Postgres starts": lambda up: (up.data / "logs" / "postgres.log").exists(),
    "the schema is made": lambda up: (up.data / "logs" / "migrate.log").exists(),
    "the services start": lambda up: (up.data / "logs" / "trainer.log").exists(),
    "everything is up": lambda up: "is up at" in (up.data.parent / "told").read_text(),
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS.keys())
def test_ctrl_c_leaves_no_process_behind(up: Up, moment: Callable[[Up], bool]) -> None:
    eventually(lambda: moment(up), seconds=60)
    assert len(carrying(up.mark)) > 0
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 130
    assert carrying(up.mark) == []
    assert "Traceback" not in (up.data.parent / "told").read_text()


@pytest.mark.parametrize("up", ["sidecar"], indirect=True)
def test_a_second_ctrl_c_is_quick_and_leaves_no_process_behind_either(up: Up) -> None:
    eventually(lambda: MOMENTS["everything is up"](up), seconds=60)
    frozen = [int(one.partition(":")[0]) for one in carrying(up.mark) if "serve trainer" in one]
    os.kill(frozen[0], signal.SIGSTOP)  # it will not answer the polite signal
    up.process.send_signal(signal.SIGINT)
    eventually(lambda: "Stopping" in (up.data.parent / "told").read_text())
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(15) == 130
    assert carrying(up.mark) == []


@pytest.mark.parametrize("up", ["sidecar"], indirect=True)
def test_a_killed_up_takes_everything_with_it_and_the_next_one_starts(up: Up) -> None:
    eventually(lambda: MOMENTS["everything is up"](up), seconds=60)
    up.process.kill()
    up.process.wait()
    eventually(lambda: carrying(up.mark) == [])
    words = ["up", "--data", str(up.data), "--port", "0", "--min-free-mb", "0"]
    again = subprocess.Popen(
        [sys.executable, "-m", "oncetune.cli", *words],
        env=program_environment(OMP_MARK=up.mark),
        stdout=subprocess.PIPE,
        text=True,
    )
    with again:
        assert again.stdout is not None
        assert any("is up at" in line for line in again.stdout)
        again.send_signal(signal.SIGTERM)


def test_ctrl_c_in_the_middle_of_the_demo_ends_the_training_too(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    demo = subprocess.Popen(
        [sys.executable, "-m", "oncetune.cli", "demo", "--data", str(tmp_path), "--delivery", "direct"],
        env=program_environment(OMP_MARK=mark),
        stdout=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: any("oncetune.training" in one for one in carrying(mark)), seconds=60)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 130
        assert carrying(mark) == []
    finally:
        demo.kill()
        demo.wait()
        forget(tmp_path / "demo")
