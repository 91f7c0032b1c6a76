"""Each child of the trainer finds in its environment what it needs, and of the secrets only its own."""

import json
import os

import pytest

from oncetune.trainer.child_environment import plain_environment, training_environment
from tests.datasets.hostile import answer, hostile
from tests.deadline import eventually
from tests.ledger.given import record, record_url
from tests.trainer.rows import the_run
from tests.trainer.working import working

# Python runs it before anything else: what it writes is what the real child was given.
WITNESS = """
import json, os, sys
from pathlib import Path
Path(__file__).with_name(f"{os.getpid()}.seen").write_text(json.dumps([sys.orig_argv, dict(os.environ)]))
"""
ROW = b'{"prompt": "What is 1 + 1?", "chosen": "2.", "rejected": "No idea."}\n'
SECRETS = (
    "DATABASE_URL", "DPO_GATEWAY_SHARED_SECRET", "DPO_REGISTER_SECRET", "APP_API_TOKEN", "DAPR_API_TOKEN",
    "PGPASSWORD", "ONCETUNE_TRIGGER_X", "ONCETUNE_REDIS_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
    "RUNPOD_API_KEY", "NVIDIA_API_KEY", "OTEL_EXPORTER_OTLP_HEADERS", "TRACEPARENT", "KUBECONFIG", "NEXT_YEARS_PASS",
    "PYTHON_KEYRING_PASSWORD", "TORCHSERVE_KEY",
)  # fmt: skip
FOR_TRAINING = ("HF_TOKEN", "HF_HOME", "CUDA_VISIBLE_DEVICES", "HTTPS_PROXY", "https_proxy")
FOR_ALL = ("TZ", "LC_ALL", "OMP_NUM_THREADS")


@pytest.fixture
def environments(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """`environments()`: of each child that there was, by the last word of its program."""
    folder = tmp_path / "witness"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WITNESS)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ['PYTHONPATH']}")

    def seen() -> dict[str, dict[str, str]]:
        found = [json.loads(path.read_text()) for path in folder.glob("*.seen")]
        return {_name(command): environment for command, environment in found}

    return seen


def _name(command: list[str]) -> str:
    """`python … stand_in.py BEHAVIOUR CONTROL FOLDER` is the training's; the others are named by their word."""
    words = ("fetch", "examine", "oncetune.report")
    return next((word for word in words if word in command), "training")


def test_each_child_is_given_what_it_needs_and_no_secret_of_another(
    engine, database_url, tmp_path, environments, monkeypatch: pytest.MonkeyPatch
):
    for name in SECRETS:
        monkeypatch.setenv(name, "open-sesame")
    for name in FOR_TRAINING:
        monkeypatch.setenv(name, "hubs-own")
    given = dict.fromkeys(FOR_ALL, "1") | {"LC_ALL": "C.UTF-8", "TZ": "UTC"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    owner = engine(None)
    with hostile({"/pairs.jsonl": answer(ROW)}) as server:
        record_url(engine("trigger"), url=server.url("/pairs.jsonl"))
        with working(database_url, tmp_path, "reports", fetch_allow=(f"127.0.0.1:{server.port}",)) as trainer:
            trainer.go()
            eventually(lambda: the_run(owner).state == "completed", seconds=60)
    seen = environments()
    assert set(seen) == {"fetch", "examine", "training", "oncetune.report"}
    for environment in seen.values():
        assert "open-sesame" not in environment.values()
        assert given.items() <= environment.items()
        assert environment["PATH"] == os.environ["PATH"]
    training = seen.pop("training")
    assert {training[name] for name in FOR_TRAINING} == {"hubs-own"}
    assert training["ONCETUNE_MODEL_CACHE"] == str(tmp_path / "model_cache")
    for environment in seen.values():
        assert "hubs-own" not in environment.values()
        assert not {name for name in environment if name.startswith(("HF_", "ONCETUNE_"))}


def test_the_hubs_token_reaches_the_training_alone_by_its_older_name_too(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", "hubs-own")
    assert training_environment(tmp_path)["HUGGING_FACE_HUB_TOKEN"] == "hubs-own"
    assert "hubs-own" not in plain_environment().values()


def test_the_allocator_keeps_its_memory_in_the_child_only(engine, database_url, tmp_path, environments):
    record(engine("trigger"))
    with working(database_url, tmp_path, "waits") as trainer:
        trainer.pid()
    training = environments()["training"]
    assert int(training["MALLOC_MMAP_THRESHOLD_"]) == 2**32
    assert int(training["MALLOC_TRIM_THRESHOLD_"]) == 2**34
    assert "MALLOC_TRIM_THRESHOLD_" not in os.environ
