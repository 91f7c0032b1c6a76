import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from oncetune.local.up import Stack
from tests.serving import SECRET as SERVERS_SECRET
from tests.serving import serving
from tests.stack import ROWS, program_environment, shared_toy_model, toy_stack

Oncetune = Callable[..., subprocess.CompletedProcess[str]]
Doctor = Callable[..., tuple[int, dict[str, dict[str, str]]]]
Preflight = Callable[..., tuple[int, dict[str, dict[str, str]], dict[str, str]]]
SECRET = "0f3b9a6d27c14e58" * 3
REGISTER_SECRET = "77aa41be90c2d3f5" * 3
GATEWAY = "https://gateway.example.com/dpo/register"


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One running stack; tests use knowledge bases of their own."""
    model = shared_toy_model(tmp_path_factory)
    with toy_stack(tmp_path_factory.mktemp("stack"), model, delivery="direct") as running:
        yield running


@pytest.fixture
def oncetune(tmp_path: Path) -> Oncetune:
    """Run a command to its end, as a program in a folder of its own."""

    def run(*words: str, said: str | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "oncetune.cli", *words]
        environment = program_environment(**settings)
        return subprocess.run(
            command, input=said, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=240
        )

    return run


@pytest.fixture
def at_stack(stack: Stack, oncetune: Oncetune) -> Oncetune:
    """The same, on the running stack and with its secret."""

    def run(*words: str, said: str | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
        known = {"ONCETUNE_URL": stack.url, "DPO_GATEWAY_SHARED_SECRET": stack.gateway_secret}
        return oncetune(*words, said=said, **(known | settings))

    return run


@pytest.fixture
def at_services(monkeypatch: pytest.MonkeyPatch, database_url: str, oncetune: Oncetune) -> Iterator[Oncetune]:
    """The same, on a trigger and a status without a trainer: the test plays it."""
    with serving(monkeypatch, "trigger", "status", database_url=database_url) as client:

        def run(*words: str, said: str | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
            known = {"ONCETUNE_URL": str(client.base_url), "DPO_GATEWAY_SHARED_SECRET": SERVERS_SECRET}
            return oncetune(*words, said=said, **(known | settings))

        yield run


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A small dataset as JSON lines."""
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return file


@pytest.fixture
def whole(database_url: str) -> dict[str, str]:
    """Settings with which everything is in order."""
    return {
        "DATABASE_URL": database_url,
        "DPO_GATEWAY_SHARED_SECRET": SECRET,
        "ONCETUNE_TRIGGER_DELIVERY": "direct",
        "APP_API_TOKEN": "an-app-token-of-the-tests",
    }


@pytest.fixture
def preflight(oncetune: Oncetune, whole: dict[str, str]) -> Preflight:
    """Look with these settings in place of whole ones: the exit code, each check by its name, the environment."""

    def look(*words: str, **settings: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        told = oncetune("preflight", "--json", "--min-free-mb", "0", *words, **{**whole, **settings})
        assert "Traceback" not in told.stderr
        document = json.loads(told.stdout)
        assert document["ok"] is (told.returncode == 0)
        return told.returncode, {check["name"]: check for check in document["checks"]}, document["environment"]

    return look


@pytest.fixture
def doctor(oncetune: Oncetune) -> Doctor:
    """Examine a URL: the exit code, and each check by its name."""

    def examine(url: object, *words: str, secret: str = SERVERS_SECRET, **settings: str) -> tuple[int, dict[str, Any]]:
        settings = {"DPO_GATEWAY_SHARED_SECRET": secret, **settings} if secret else settings
        told = oncetune("doctor", "--url", str(url), "--json", *words, **settings)
        assert "Traceback" not in told.stderr
        assert not secret or secret not in told.stdout + told.stderr
        return told.returncode, {check["name"]: check for check in json.loads(told.stdout)["checks"]}

    return examine
