"""Services whose `/metrics` are read."""

import json

import pytest

from tests.serving import serving
from tests.trainer.working import command


@pytest.fixture
def status(monkeypatch, database_url):
    with serving(monkeypatch, "status", database_url=database_url) as client:
        yield client


@pytest.fixture
def trainer(monkeypatch, database_url, tmp_path):
    environment = {
        "ONCETUNE_TRAINER_POLL_EVERY": "PT0.05S",
        "ONCETUNE_TRAINER_TRAINING_COMMAND": json.dumps(command("finishes", tmp_path / "control")),
        "ONCETUNE_TRAINER_STAGING": str(tmp_path / "staging"),
        "ONCETUNE_ARTIFACTS": str(tmp_path / "artifacts"),
        "ONCETUNE_MODEL_CACHE": str(tmp_path / "models"),
    }
    with serving(monkeypatch, "trainer", database_url=database_url, environment=environment) as client:
        yield client
