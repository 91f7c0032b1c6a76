"""A trainer in the test's process, whose children are stand-ins that the test directs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from oncetune.postgres import connect
from oncetune.trainer.settings import TrainerSettings
from oncetune.trainer.slot import Slot
from oncetune.trainer.worker import Worker
from tests.deadline import eventually

STAND_IN = Path(__file__).with_name("stand_in.py")


def command(behaviour: str, control: Path) -> tuple[str, ...]:
    control.mkdir(parents=True, exist_ok=True)
    return (sys.executable, str(STAND_IN), behaviour, str(control))


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass
class Working:
    """A running trainer and what its test directs it with."""

    settings: TrainerSettings
    slot: Slot
    control: Path

    def pid(self) -> int:
        """The process id of the child, as soon as it has one."""
        return int(self.told("pid"))

    def told(self, name: str) -> str:
        """What the child left for the test."""
        eventually(lambda: (self.control / name).exists())
        return (self.control / name).read_text()

    def go(self) -> None:
        (self.control / "go").touch()

    def adapters(self) -> list[str]:
        """Run/attempt of every adapter that lies in its place."""
        root = self.settings.artifacts
        return [str(path.parent.relative_to(root)) for path in root.glob("*/*/adapter")]


def settings(database_url: str, folder: Path, behaviour: str, **fields: Any) -> TrainerSettings:
    """Of a trainer that is quick about everything."""
    quick = {
        "name": "worker",
        "lease": timedelta(seconds=3),
        "renew_every": timedelta(seconds=0.1),
        "poll_every": timedelta(seconds=0.05),
        "child_grace": timedelta(seconds=0.3),
        "training_command": command(behaviour, folder / "control"),
    }
    folders = {name: folder / name for name in ("artifacts", "staging", "model_cache")}
    return TrainerSettings(database_url=database_url, **{**quick, **folders, **fields})


@contextmanager
def working(database_url: str, folder: Path, behaviour: str, **fields: Any) -> Iterator[Working]:
    """Polls, claims and trains while inside; the block's end is what SIGTERM means to a trainer."""
    chosen = settings(database_url, folder, behaviour, **fields)
    engine, beats = _engines(database_url)
    slot = Slot(engine, worker=chosen.name, lease=chosen.lease)
    try:
        with Worker(engine, beats, slot, chosen):
            yield Working(chosen, slot, folder / "control")
    finally:
        engine.dispose()
        beats.dispose()


def _engines(database_url: str) -> tuple[Engine, Engine]:
    role = "oncetune_trainer"
    return connect(database_url, role=role, pool_size=2), connect(database_url, role=role, pool_size=0)
