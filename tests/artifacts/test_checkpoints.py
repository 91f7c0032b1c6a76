"""Which checkpoint an attempt goes on from, and which ones are cleared away."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from oncetune.artifacts.checkpoints import (
    checkpoint_place,
    keep_newest_checkpoint,
    sweep_checkpoints,
    take_over,
)
from oncetune.contracts.checkpoint import SEAL_NAME, Origin, close_with_seal, sealed_steps
from tests.loglines import captured_lines

RUN = uuid4()
OTHER = uuid4()


def origin(run_id: UUID = RUN, recipe: str = "1") -> Origin:
    return Origin(run_id=str(run_id), dataset_sha256="0" * 64, recipe_sha256=recipe * 64)


def seal(root: Path, attempt: int, step: int, of: Origin | None = None) -> Path:
    """A checkpoint as the child leaves it."""
    folder = checkpoint_place(root, RUN, attempt) / str(step)
    folder.mkdir(parents=True)
    (folder / "optimizer.pt").write_bytes(bytes([attempt, step]) * 1000)
    (folder / "steps.json").write_text("[]")
    close_with_seal(folder, of or origin(), step=step, steps=50, made_with={"torch": "2"})
    return folder


def steps(root: Path) -> dict[str, list[int]]:
    """What lies there, by attempt."""
    places = (root / str(RUN) / "checkpoints").glob("*")
    return {place.name: sealed_steps(place) for place in places}


def test_without_a_checkpoint_an_attempt_starts_from_the_beginning(tmp_path):
    assert take_over(tmp_path, RUN, 1, origin()) is None


def test_the_newest_checkpoint_of_any_earlier_attempt_moves_to_the_new_one_and_the_rest_goes(tmp_path):
    for attempt, step in ((1, 10), (1, 20), (2, 15)):
        seal(tmp_path, attempt, step)
    taken, told = take_over(tmp_path, RUN, 3, origin())
    assert (taken, told.step, told.steps) == (checkpoint_place(tmp_path, RUN, 3) / "20", 20, 50)
    assert (taken / "optimizer.pt").read_bytes() == bytes([1, 20]) * 1000
    assert steps(tmp_path) == {"3": [20]}


def test_what_a_later_attempt_wrote_is_out_of_reach_of_a_zombie(tmp_path):
    seal(tmp_path, 1, 10)
    seal(tmp_path, 3, 30)
    taken, _ = take_over(tmp_path, RUN, 2, origin())
    assert taken.name == "10"
    assert steps(tmp_path) == {"2": [10], "3": [30]}


def _cut(folder: Path) -> None:
    os.truncate(folder / "optimizer.pt", 1999)


def _turn_a_bit(folder: Path) -> None:
    content = bytearray((folder / "optimizer.pt").read_bytes())
    content[77] ^= 1
    (folder / "optimizer.pt").write_bytes(content)


def _link(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere"
    (folder / "optimizer.pt").rename(elsewhere)
    (folder / "optimizer.pt").symlink_to(elsewhere)


def _of_another_run(folder: Path) -> None:
    told = json.loads((folder / SEAL_NAME).read_text())
    (folder / SEAL_NAME).write_text(json.dumps(told | {"origin": origin(OTHER).model_dump()}))


def _of_another_recipe(folder: Path) -> None:
    told = json.loads((folder / SEAL_NAME).read_text())
    (folder / SEAL_NAME).write_text(json.dumps(told | {"origin": origin(recipe="2").model_dump()}))


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "half-written": (lambda folder: (folder / SEAL_NAME).unlink(), "no seal"),
    "half-sealed": (lambda folder: os.truncate(folder / SEAL_NAME, 40), "cannot be read"),
    "truncated": (_cut, "not those"),
    "tampered": (_turn_a_bit, "not those"),
    "a file less": (lambda folder: (folder / "steps.json").unlink(), "not those"),
    "a file more": (lambda folder: (folder / "scaler.pt").write_bytes(b"pickle"), "not those"),
    "a link": (_link, "not those"),
    "another run's": (_of_another_run, "another run"),
    "another recipe's": (_of_another_recipe, "another run or recipe"),
}


@pytest.mark.parametrize("way", SPOILED)
def test_a_spoiled_checkpoint_is_passed_over_with_a_line_and_the_next_older_one_is_used(tmp_path, way):
    spoil, reason = SPOILED[way]
    seal(tmp_path, 1, 10)
    spoil(seal(tmp_path, 2, 20))
    with captured_lines() as lines:
        taken, told = take_over(tmp_path, RUN, 3, origin())
    assert (taken, told.step) == (checkpoint_place(tmp_path, RUN, 3) / "10", 10)
    [line] = lines.events("checkpoint.passed_over")
    assert line["step"] == 20
    assert reason in line["reason"]
    assert steps(tmp_path) == {"3": [10]}


def test_a_checkpoint_from_which_an_attempt_got_no_further_is_passed_over_in_doubt_only(tmp_path):
    seal(tmp_path, 1, 20)
    for attempt in (2, 3):
        taken, _ = take_over(tmp_path, RUN, attempt, origin())
        assert taken.name == "20"
    assert take_over(tmp_path, RUN, 4, origin(), doubting=True) is None
    assert steps(tmp_path) == {}


def test_a_checkpoint_that_its_own_attempt_wrote_is_not_doubted(tmp_path):
    seal(tmp_path, 1, 10)
    take_over(tmp_path, RUN, 2, origin())
    seal(tmp_path, 2, 20)
    taken, _ = take_over(tmp_path, RUN, 3, origin(), doubting=True)
    assert taken.name == "20"


def test_half_written_ones_beside_their_place_are_no_checkpoints(tmp_path):
    folder = seal(tmp_path, 1, 10)
    arriving = checkpoint_place(tmp_path, RUN, 1) / "arriving"
    arriving.mkdir()
    folder.rename(arriving / "checkpoint-10")
    assert take_over(tmp_path, RUN, 2, origin()) is None
    assert steps(tmp_path) == {}


def test_a_cancelled_run_keeps_its_newest_checkpoint_and_nothing_else(tmp_path):
    for attempt, step in ((1, 10), (2, 20), (2, 9)):
        seal(tmp_path, attempt, step)
    (checkpoint_place(tmp_path, RUN, 2) / "arriving" / "checkpoint-21").mkdir(parents=True)
    keep_newest_checkpoint(tmp_path, RUN)
    assert steps(tmp_path) == {"1": [], "2": [20]}
    assert not (checkpoint_place(tmp_path, RUN, 2) / "arriving").exists()


def test_a_sweep_takes_the_checkpoints_of_one_run_and_leaves_its_adapter(tmp_path):
    seal(tmp_path, 1, 10)
    (tmp_path / str(RUN) / "1" / "adapter").mkdir(parents=True)
    sweep_checkpoints(tmp_path, RUN)
    assert steps(tmp_path) == {}
    assert (tmp_path / str(RUN) / "1" / "adapter").exists()
