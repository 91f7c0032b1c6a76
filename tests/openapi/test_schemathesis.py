"""Every check of schemathesis on every route of a served app with a real database, with signed calls."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from oncetune.contracts.topics import DEAD_LETTER_ROUTE
from tests.ledger.given import ADAPTER, change, claim, record
from tests.serving import signed
from tests.status.given import FROM_SIDECAR, finish, progress_event
from tests.status.test_datasets import MANIFEST

CONFIG = Path(__file__).with_name("schemathesis.toml")
_LABEL = "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?"
# Every URL of it is accepted; the published pattern must let pass all that are, and so some that are not.
URL = rf"^https?://({_LABEL}\.){{1,5}}[a-z]{{2,10}}(:[1-9][0-9]{{0,3}})?/[A-Za-z0-9_./~-]*\.(json|jsonl|jsonl\.gz)(\?[!-\"$-~]*)?$"
PROGRAM = Path(sys.executable).with_name("schemathesis")


@pytest.fixture(autouse=True)
def recorded_model_is_offered(monkeypatch):
    """That of tests/ledger/given.py: nothing else may be trained again."""
    monkeypatch.setenv("ONCETUNE_TRIGGER_MODELS", '{"zephyr": "toy"}')


def narrowed(document: Any, folder: Path) -> Path:
    """The document, where URLs of datasets are made by the pattern above."""
    described = copy.deepcopy(document)
    described["components"]["schemas"]["TriggerBody"]["properties"]["dataset_url"]["pattern"] = URL
    path = folder / "openapi.json"
    path.write_text(json.dumps(described))
    return path


def test_whatever_is_sent_to_a_route_is_answered_as_its_description_says(client, document, tmp_path, engine):
    completed = record(engine("trigger"), "completed").run_id
    finish(engine, claim(engine("trainer")), state="completed", **ADAPTER)
    manifest = MANIFEST.model_dump_json()
    change(engine(None), "UPDATE ledger.run SET manifest = CAST(:manifest AS jsonb)", manifest=manifest)
    for path in DEAD_LETTER_ROUTE.values():
        for event in ({}, *(progress_event() for _ in range(5))):  # what a caller cannot make
            client.post(path, json=event, headers=FROM_SIDECAR).raise_for_status()
    routes = sum(len(operations) for operations in document["paths"].values())
    headers = [word for name, value in signed().items() for word in ("--header", f"{name}: {value}")]
    bounds = ["--max-examples", "25", "--generation-deterministic", "--continue-on-failure", "--no-color"]
    bounds += ["--url", str(client.base_url)]
    command = [PROGRAM, "--config-file", CONFIG, "run", narrowed(document, tmp_path), *bounds, *headers]
    known = os.environ | {"COMPLETED_RUN": str(completed)}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path, env=known)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"Selected: {routes}/{routes}" in ended.stdout and "No issues found" in ended.stdout, ended.stdout
