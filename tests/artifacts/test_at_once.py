"""Two trainers clear the same folders away at once: neither minds that the other was faster."""

import sys
from pathlib import Path
from uuid import uuid4

import pytest

from oncetune.artifacts.checkpoints import checkpoint_place, keep_newest_checkpoint, take_over
from oncetune.contracts.checkpoint import Origin

RUN = uuid4()
_vanishing: list[Path] = []


def _vanish(event: str, arguments: tuple[object, ...]) -> None:
    """The other trainer, at the moment in which the system is asked for what lies in a folder."""
    if _vanishing and event in ("os.listdir", "os.scandir") and str(arguments[0]) == str(_vanishing[0]):
        folder = _vanishing.pop()
        folder.rename(folder.with_name("away"))


sys.addaudithook(_vanish)  # for good: a hook cannot be taken away


@pytest.mark.parametrize("gone", ["checkpoints", "checkpoints/1"])
@pytest.mark.parametrize("act", [keep_newest_checkpoint, take_over])
def test_a_folder_that_goes_while_it_is_read_holds_nothing(tmp_path, act, gone):
    (checkpoint_place(tmp_path, RUN, 1) / "10").mkdir(parents=True)
    _vanishing.append(tmp_path / str(RUN) / gone)
    more = (2, Origin(run_id=str(RUN), dataset_sha256="0" * 64, recipe_sha256="1" * 64)) if act is take_over else ()
    assert act(tmp_path, RUN, *more) is None
    assert _vanishing == []
