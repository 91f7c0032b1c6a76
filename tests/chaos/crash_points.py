"""Where a process may die, and how it is made to: production code has no hooks, the launcher wraps named functions.

A point is armed by a file, `<armed>/<service>/<point>.<side>`, which holds how many passes to let by. Whoever comes to
the point takes the file away and is killed there, as by the kernel: nothing is flushed, nothing is said.
"""

import functools
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any

Wrapped = Callable[..., Any]


TRAINING, ROWS = "training", "rows"  # whichever child of whichever trainer


class Side(StrEnum):
    """Of the effect that gives the point its name: has it happened yet?"""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True)
class Place:
    """A function, `module:attribute`, and the moment: as it is called, or as it returns something that counts."""

    target: str
    returning: bool = True
    counts: Callable[[Any], bool] = bool


@dataclass(frozen=True)
class Point:
    """`before` and `after` the effect. `burst`: how many requests at once; `patience`: seconds until more are asked;
    `healed_seconds`: until every run must have ended, a training that begins again included. `by_url`: the requests
    bring one; `most_passes`: how often a process comes by, at the least, before its own end; `with_parent`: whoever
    started the process that comes by dies, too.
    """

    name: str
    service: str
    before: Place
    after: Place
    burst: int = 2
    patience: float = 3.0
    healed_seconds: float = 60.0
    by_url: bool = False
    most_passes: int = 2
    with_parent: bool = False

    @property
    def victim(self) -> str:
        """Who dies, in words."""
        return "trainer" if self.with_parent else self.service


def _anything(_result: Any) -> bool:
    return True


def _nothing(result: Any) -> bool:
    return result is None


def _claims(offer: Any) -> bool:
    return offer == "claimed"


_A_PIECE = Place("tests.chaos.rows_launcher:writes_a_piece", counts=_nothing)  # half a file lies there
_A_FILE = Place("oncetune.trainer.rows_program:fetch_dataset")  # the whole file, and no rows that were read

POINTS = (
    Point(
        "request-commit", "trigger",
        Place("oncetune.trigger.routes:accept"),  # everything is written, nothing committed
        Place("oncetune.trigger.routes:accept_run"),
    ),
    Point(
        "answer", "trigger",
        Place("tests.chaos.launcher:answer_starts", returning=False),
        Place("tests.chaos.launcher:answer_ended", counts=_anything),
    ),
    Point(
        "take", "trigger",
        Place("oncetune.trigger.relay:take_events"),
        Place("oncetune.trigger.relay:topic_of", returning=False),  # the first thing after the commit
    ),
    Point(
        "publish", "trigger",
        Place("tests.chaos.launcher:publishes", returning=False),
        Place("tests.chaos.launcher:publishes", counts=_anything),
    ),
    Point(
        "half-a-batch", "trigger",
        Place("tests.chaos.launcher:publishes_the_middle_one", returning=False),
        Place("tests.chaos.launcher:publishes_the_middle_one", counts=_anything),
        burst=12,
    ),
    Point(
        "confirm", "trigger",
        Place("oncetune.trigger.relay:confirm_events", counts=lambda found: bool(found.event_ids)),
        Place("oncetune.trigger.relay:confirm_once"),
    ),
    Point(
        "delivery-claim", "trainer",
        Place("oncetune.trainer.slot:claim_run"),
        Place("oncetune.trainer.slot:Slot.offer", counts=_claims),
    ),
    Point(
        "first-heartbeat", "trainer",
        Place("tests.chaos.launcher:beats_first", returning=False),
        Place("tests.chaos.launcher:beats_first", counts=_anything),
    ),
    Point(
        "quality", "trainer",
        Place("oncetune.trainer.preparation:store_quality", counts=_anything),
        Place("oncetune.trainer.preparation:Preparation._keep", counts=_nothing),
    ),
    Point(
        "artifact-publish", "trainer",
        Place("oncetune.trainer.attempt:publish", returning=False),
        Place("oncetune.trainer.attempt:publish"),
    ),
    Point(
        "finish", "trainer",
        Place("oncetune.trainer.attempt:finish_run"),
        Place("oncetune.trainer.attempt:Attempt._tell"),
    ),
    Point(
        "journal-commit", "status",
        Place("oncetune.status.intake:append_events"),
        Place("oncetune.status.intake:_append"),
    ),
    Point(
        "journal-answer", "status",
        Place("tests.chaos.launcher:answer_starts", returning=False),
        Place("tests.chaos.launcher:answer_ended", counts=_anything),
    ),
    Point("dataset-file", ROWS, _A_PIECE, _A_FILE, by_url=True, most_passes=0),
    Point("dataset-file-of-trainer", ROWS, _A_PIECE, _A_FILE, by_url=True, most_passes=0, with_parent=True),
    Point(
        "dataset-store", "trainer",
        Place("oncetune.trainer.preparation:store_fetched_dataset", returning=False),  # fetched, and nothing stored
        Place("oncetune.ledger.datasets:store_rows", counts=_nothing),  # and not pinned
        by_url=True,
    ),
    Point(
        "dataset-pin", "trainer",
        Place("oncetune.trainer.preparation:store_fetched_dataset"),  # pinned and told, nothing committed
        Place("oncetune.trainer.preparation:Preparation._fetch", counts=_nothing),
        by_url=True,
    ),
    Point(
        "dataset-event", "trigger",
        Place("tests.chaos.launcher:publishes_a_dataset", returning=False),
        Place("tests.chaos.launcher:publishes_a_dataset", counts=_anything),  # and nothing confirmed
        by_url=True,
    ),
    Point(
        "dataset-examined", "trainer",
        Place("oncetune.trainer.preparation:plan_checkpoints", returning=False),
        Place("oncetune.trainer.preparation:Preparation.prepare", counts=_nothing),  # and no training begun
        by_url=True,
    ),
)  # fmt: skip

TRAINING_POINTS = (
    Point(
        "checkpoint-write", TRAINING,
        Place("oncetune.contracts.checkpoint:close_with_seal", counts=_anything),  # sealed, and not in its place yet
        Place("oncetune.contracts.checkpoint:sealed_steps", returning=False),  # the first thing after the rename
        patience=30.0,
        healed_seconds=180.0,  # two trainings share the cores, and their libraries take ten seconds each to import
    ),
)  # fmt: skip


def arm(armed: Path, name: str, point: Point, side: Side, *, passes: int) -> Path:
    """Let the process `name` die when it comes to this point after `passes` others; the file that says so."""
    (armed / name).mkdir(exist_ok=True)
    file = armed / name / f"{point.name}.{side}"
    new = file.with_suffix(".new")
    new.write_text(str(passes))
    return new.rename(file)


def install(armed: Path, name: str, service: str) -> None:
    """Wrap the functions of every point of this service, in the process that calls this."""
    for point in POINTS + TRAINING_POINTS:
        if point.service == service:
            for side, place in ((Side.BEFORE, point.before), (Side.AFTER, point.after)):
                _wrap(place, Fuse(armed / name / f"{point.name}.{side}", with_parent=point.with_parent))


def _wrap(place: Place, fuse: "Fuse") -> None:
    module, _, path = place.target.partition(":")
    *outer, attribute = path.split(".")
    owner = functools.reduce(getattr, outer, import_module(module))
    function: Wrapped = getattr(owner, attribute)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if not place.returning:
            fuse.burn()
        result = function(*args, **kwargs)
        if place.returning and place.counts(result):
            fuse.burn()
        return result

    setattr(owner, attribute, wrapped)


class Fuse:
    """Burns when its file is there, and kills this process, after its parent if it takes that along."""

    def __init__(self, file: Path, *, with_parent: bool = False) -> None:
        self._file = file
        self._with_parent = with_parent
        self._left: int | None = None

    def burn(self) -> None:
        try:
            passes = int(self._file.read_text())
        except FileNotFoundError:
            self._left = None
            return
        self._left = passes if self._left is None else self._left - 1
        if self._left <= 0:
            try:
                self._file.unlink()
            except FileNotFoundError:
                return  # another process of this name was quicker
            if self._with_parent:
                os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
