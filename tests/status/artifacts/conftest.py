"""A status that knows where results are, and a run that has some."""

import pytest

from oncetune.artifacts.folder import FolderStore
from tests.serving import serving
from tests.status.artifacts.given import ANOTHER, completed


@pytest.fixture
def root(tmp_path):
    return tmp_path / "artifacts"


@pytest.fixture
def status(monkeypatch, database_url, root):
    environment = {"ONCETUNE_ARTIFACTS": str(root), "DPO_GATEWAY_SHARED_SECRET_PREVIOUS": ANOTHER}
    with serving(monkeypatch, "status", database_url=database_url, environment=environment) as client:
        yield client


@pytest.fixture
def run_id(engine, root, tmp_path):
    return completed(engine, FolderStore(root), tmp_path / "staging")
