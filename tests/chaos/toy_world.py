"""The same system with the real training in place of the stand-in: a toy model, a checkpoint after every step."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.under_load import INLINE
from tests.chaos.world import World, running_world

_SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "ONCETUNE_TRAINER_CHILD_GRACE": "PT5S",  # time for a last checkpoint
    "ONCETUNE_TRAINER_CHECKPOINT_EVERY": "PT0S",
    "ONCETUNE_TRAINER_PROGRESS_DEADLINE": "PT60S",  # the libraries take seconds to import
}
# A run takes ten seconds rather than one: fewer of them, none again, and rarer faults. The real training ends well or
# not at all.
TOY_STORM = {"per_second": 0.1, "pause": (0.3, 6.0), "healed_seconds": 180.0, "wishes": INLINE, "again": 0.0}


@contextmanager
def toy_world(folder: Path, model: Path) -> Iterator[World]:
    """As running_world. `model` comes from tests/training/toy.py."""
    training = (sys.executable, "-P", "-m", "tests.chaos.training_launcher", str(folder / "armed"))
    models = {"ONCETUNE_TRIGGER_MODELS": json.dumps({"zephyr": str(model)})}
    with running_world(folder, settings=_SETTINGS | models, training=training) as world:
        yield world
