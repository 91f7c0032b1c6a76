"""A trainer as the process that it is: served by the command line, killed without a word, with the real program."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import httpx

from tests.deadline import eventually
from tests.ledger.given import change, record, rows_of
from tests.serving import APP_TOKEN, SECRET, free_port
from tests.trainer.working import alive, command, working


@contextmanager
def _serving_process(database_url, folder, behaviour):
    """`oncetune serve trainer` and its port."""
    port = free_port()
    environment = os.environ | {
        "DATABASE_URL": database_url,
        "DPO_GATEWAY_SHARED_SECRET": SECRET,
        "APP_API_TOKEN": APP_TOKEN,
        "ONCETUNE_ENVIRONMENT": "local",
        "ONCETUNE_ARTIFACTS": str(folder / "artifacts"),
        "ONCETUNE_MODEL_CACHE": str(folder / "models"),
        "ONCETUNE_TRAINER_STAGING": str(folder / "staging"),
        "ONCETUNE_TRAINER_TRAINING_COMMAND": json.dumps(command(behaviour, folder / "control")),
        "ONCETUNE_TRAINER_CHILD_GRACE": "PT0.5S",
    }
    line = [sys.executable, "-m", "oncetune.cli", "serve", "trainer", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "trainer.log").open("wb") as log:
        process = subprocess.Popen(line, env=environment, stdout=log, stderr=log)
        try:
            yield process, port
        finally:
            process.kill()
            process.wait()


def _child_of(folder):
    eventually((folder / "control" / "pid").exists, seconds=20)
    return int((folder / "control" / "pid").read_text())


def test_a_trainer_that_is_killed_leaves_no_child_behind(engine, database_url, tmp_path):
    record(engine("trigger"))
    with _serving_process(database_url, tmp_path, "stubborn") as (trainer, _):
        child = _child_of(tmp_path)
        assert alive(child)
        trainer.kill()
        eventually(lambda: not alive(child))
    run = rows_of(engine(None), "SELECT state, strikes FROM ledger.run")[0]
    assert (run.state, run.strikes) == ("running", 0), "trigger's loop ends the lease when its time is over"


def test_sigterm_ends_the_child_and_gives_the_run_back_before_the_process_ends(engine, database_url, tmp_path):
    record(engine("trigger"))
    with _serving_process(database_url, tmp_path, "stubborn") as (trainer, port):
        child = _child_of(tmp_path)
        assert httpx.get(f"http://127.0.0.1:{port}/ready", trust_env=False).json()["status"] == "ready"
        trainer.send_signal(signal.SIGTERM)
        assert trainer.wait(20) in (0, -signal.SIGTERM)  # uvicorn ends by the signal after its clean stop
        assert not alive(child)
    run = rows_of(engine(None), "SELECT state, strikes FROM ledger.run")[0]
    assert (run.state, run.strikes) == ("queued", 0)
    lines = [json.loads(line) for line in (tmp_path / "trainer.log").read_text().splitlines()]
    assert {"service.started", "run.claimed", "training.started", "service.stopping", "attempt.ended"} <= {
        line["event"] for line in lines
    }


def test_no_service_imports_torch():
    heavy = "{'torch', 'transformers', 'trl', 'peft', 'datasets', 'accelerate', 'numpy', 'pandas'}"
    program = f"import sys, oncetune.serve, oncetune.cli.main; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_what_the_real_training_program_refuses_fails_the_run_with_its_code(engine, database_url, tmp_path):
    record(engine("trigger"))
    owner = engine(None)
    change(owner, """UPDATE ledger.run SET recipe = recipe || '{"base_model": "/no/such/folder"}'""")
    real = (sys.executable, "-m", "oncetune.training")
    with working(database_url, tmp_path, "finishes", training_command=real):
        eventually(lambda: rows_of(owner, "SELECT FROM ledger.run WHERE state = 'failed'"), seconds=60)
    error = rows_of(owner, "SELECT error FROM ledger.run")[0].error
    assert error["code"] == "base_model_unavailable"
