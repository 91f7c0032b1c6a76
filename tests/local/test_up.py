"""The whole stack: services, database, broker, trainer, on both ways that events travel."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from oncetune.cli.client import Client, Unreachable
from oncetune.cli.redelivery import Redelivery
from oncetune.cli.submit import send
from oncetune.local.signals import Signals
from oncetune.local.up import Stack
from tests.deadline import eventually
from tests.stack import ROWS, client_of, state_of, whole_trail


def body(kb_id: str, **hyperparameters: object) -> bytes:
    wanted = {"max_steps": 2, **hyperparameters}
    request = {"kb_id": kb_id, "exp_name": "toy", "base_model": "toy", "dataset_inline": ROWS}
    return json.dumps({**request, "hyperparameters": wanted}).encode()


def test_a_run_asked_for_and_delivered_several_times_is_trained_once_and_its_trail_is_whole(stack: Stack) -> None:
    with client_of(stack) as client:
        asked = [send(client, body("once"), "key-once") for _ in range(3)]
        run_ids = {str(answer["run_id"]) for answer, _ in asked}
        assert [replayed for _, replayed in asked] == [False, True, True]
        assert len(run_ids) == 1
        run_id = run_ids.pop()
        copies = Redelivery(stack, run_id, Signals())
        copies.send(5)
        run = state_of(client, run_id, "completed", "failed")
        assert (run["status"], run["attempt"]) == ("completed", 1), run
        copies.send(2)
        eventually(lambda: whole_trail(client, run_id)["duplicates"] >= 7, seconds=30, every=0.2)
        trail = whole_trail(client, run_id)
    types = [event["type"] for event in trail["events"]]
    assert [event["position"] for event in trail["events"]] == list(range(1, len(types) + 1))
    assert (types[0], types[1], types[-1]) == ("run.requested", "run.started", "run.completed")
    adapter = Path(run["artifact"]["uri"].removeprefix("file://"))
    assert adapter.is_relative_to(stack.artifacts)
    assert (adapter / "adapter_model.safetensors").is_file()
    with psycopg.connect(stack.database_url) as connection:
        assert connection.execute("SELECT count(*) FROM ledger.run WHERE kb_id = 'once'").fetchone() == (1,)


@pytest.mark.parametrize("stack", ["direct"], indirect=True)
def test_a_killed_trainer_comes_back_and_the_run_completes_under_its_second_attempt(stack: Stack) -> None:
    with client_of(stack) as client:
        # Long enough to be killed in its middle, short enough to be trained again.
        answer, _ = send(client, body("killed", max_steps=300, batch_size=1), "key-killed")
        run_id = str(answer["run_id"])
        eventually(lambda: (client.get(f"/runs/{run_id}").get("progress") or {}).get("step"), seconds=90, every=0.1)
        os.kill(stack.pids()["trainer"], signal.SIGKILL)
        run = state_of(client, run_id, "completed", "failed", seconds=150)
        assert (run["status"], run["attempt"]) == ("completed", 2), run
        trail = whole_trail(client, run_id)
    types = [event["type"] for event in trail["events"]]
    assert [kind for kind in types if kind != "run.progress"] == [
        "run.requested",
        "run.started",
        "run.requeued",
        "run.started",
        "run.completed",
    ]
    assert len(list((stack.artifacts / run_id).glob("*/adapter"))) == 1


def test_a_killed_trigger_and_status_come_back_and_answer_again(stack: Stack) -> None:
    before = stack.pids()["trigger-status"]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: stack.pids().get("trigger-status", before) != before)
    with client_of(stack) as client:
        eventually(lambda: "runs" in answered(client), seconds=30, every=0.1)


def answered(client: Client) -> dict[str, Any]:
    try:
        return client.get("/runs")
    except Unreachable:
        return {}


def test_every_service_acts_as_its_own_role(stack: Stack) -> None:
    with psycopg.connect(stack.database_url) as connection:
        names = connection.execute("SELECT DISTINCT application_name FROM pg_stat_activity").fetchall()
    assert {"oncetune_trigger", "oncetune_trainer"} <= {name for (name,) in names}


def test_no_secret_stands_in_any_log(stack: Stack) -> None:
    with client_of(stack) as client:
        client.get("/runs")
    secrets = [file.read_text() for file in (stack.data / "secrets").iterdir()]
    for log in (stack.data / "logs").glob("*.log"):
        text = log.read_text(errors="replace")
        assert not [secret for secret in secrets if secret in text], log
