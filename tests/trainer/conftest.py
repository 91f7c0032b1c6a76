import os
import sys
from threading import Event

import pytest

from oncetune.trainer.results import Results
from tests.report import reports
from tests.trainer.working import settings

WEIGHTS = b"weights"
NEVER = Event()


@pytest.fixture(autouse=True)
def _children_find_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever way the suite itself finds it."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))


@pytest.fixture
def folder(tmp_path):
    """As a child leaves it."""
    folder = tmp_path / "attempt"
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(WEIGHTS)
    (folder / "record.json").write_text(reports.record().model_dump_json())
    (folder / "training.log").write_text("printed\n")
    return folder


@pytest.fixture
def results(engine, database_url, tmp_path, folder):
    """`results(lease)`: of the attempt with this lease; the trainer never has to stop unless it is told to."""

    def make(lease, *, must_stop=NEVER.wait, trainer=None, **fields):
        chosen = settings(database_url, tmp_path, "finishes")
        return Results(trainer or engine("trainer"), chosen, lease, folder, must_stop, **fields)

    return make


def told(lines):
    """The lines of this room, not of the libraries."""
    return [line for line in lines.events() if line["event"].startswith(("results.", "report."))]
