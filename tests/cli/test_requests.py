"""`oncetune submit` and `oncetune runs` against a running stack."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from oncetune.local.up import Stack
from tests.cli.conftest import Oncetune
from tests.deadline import eventually
from tests.stack import program_environment

QUICK = ("--exp-name", "toy", "--set", "max_steps=2")


@pytest.fixture(scope="module")
def finished(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """A run that was submitted and followed to its end, as `--json --watch` tells it."""
    from tests.stack import ROWS

    file = tmp_path_factory.mktemp("rows") / "rows.json"
    file.write_text(json.dumps(ROWS))
    command = [sys.executable, "-m", "oncetune.cli", "submit", str(file), "--kb-id", "finished", *QUICK]
    told = subprocess.run(
        [*command, "--watch", "--json", "--url", stack.url, "--data", str(stack.data)],
        capture_output=True,
        text=True,
        env=program_environment(),
        timeout=240,
        check=True,
    )
    result: dict[str, object] = json.loads(told.stdout)
    assert "step" in told.stderr or "loading" in told.stderr
    return result


def test_a_submission_that_is_watched_ends_with_the_whole_run(finished: dict[str, object]) -> None:
    assert finished["status"] == "completed"
    assert finished["replayed"] is False
    assert finished["idempotency_key"]
    run = finished["run"]
    assert isinstance(run, dict)
    assert run["run_id"] == finished["run_id"]
    assert run["artifact"]["sha256"]


def test_a_submission_prints_its_run_id_alone_on_standard_output(at_stack: Oncetune, rows: Path) -> None:
    told = at_stack("submit", str(rows), "--kb-id", "plain", *QUICK)
    assert told.returncode == 0, told.stderr
    assert len(told.stdout.split()) == 1
    assert "Idempotency-Key" in told.stderr
    again = at_stack("submit", "-", "--kb-id", "piped", *QUICK, "--json", said=rows.read_text())
    assert json.loads(again.stdout)["status"] == "queued"


def test_the_same_key_and_request_name_the_same_run(at_stack: Oncetune, rows: Path) -> None:
    words = ("submit", str(rows), "--kb-id", "twice", *QUICK, "--idempotency-key", "twice", "--json")
    first, second = json.loads(at_stack(*words).stdout), json.loads(at_stack(*words).stdout)
    assert (first["run_id"], first["replayed"], second["replayed"]) == (second["run_id"], False, True)


def test_a_second_active_run_of_a_kb_is_a_failure_that_names_the_first(at_stack: Oncetune, rows: Path) -> None:
    slow = ("--exp-name", "slow", "--set", "max_steps=100000")
    first = at_stack("submit", str(rows), "--kb-id", "busy", *slow)
    second = at_stack("submit", str(rows), "--kb-id", "busy", *slow)
    assert second.returncode == 1
    assert first.stdout.strip() in second.stderr


def test_what_the_server_refuses_is_told_in_its_words(at_stack: Oncetune, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('[{"prompt": "a", "chosen": "b"}]')
    told = at_stack("submit", "bad.json", "--kb-id", "bad", "--exp-name", "bad")
    assert told.returncode == 1
    assert "rejected" in told.stderr


def test_a_wrong_secret_is_a_matter_of_authentication(at_stack: Oncetune) -> None:
    told = at_stack("runs", "list", DPO_GATEWAY_SHARED_SECRET="not-the-secret-of-this-server")
    assert told.returncode == 4


def test_runs_are_listed_for_people_and_for_machines(at_stack: Oncetune, finished: dict[str, object]) -> None:
    listed = at_stack("runs", "list", "--kb-id", "finished")
    heading, line = listed.stdout.splitlines()
    assert heading.split() == ["RUN", "KB", "EXPERIMENT", "ATTEMPT", "CREATED", "STATE"]
    assert line.split()[0] == finished["run_id"]
    assert line.split()[-1] == "completed"
    runs = json.loads(at_stack("runs", "list", "--kb-id", "finished", "--json").stdout)["runs"]
    assert [run["run_id"] for run in runs] == [finished["run_id"]]
    empty = at_stack("runs", "list", "--kb-id", "nobody")
    assert (empty.returncode, empty.stdout) == (0, "")


def test_a_run_may_be_named_by_its_first_characters(at_stack: Oncetune, finished: dict[str, object]) -> None:
    run_id = str(finished["run_id"])
    told = at_stack("runs", "show", run_id[:13], "--json")
    assert json.loads(told.stdout)["run_id"] == run_id
    assert f"run_id       {run_id}" in at_stack("runs", "show", run_id).stdout
    assert at_stack("runs", "show", "").returncode == 2
    assert at_stack("runs", "show", "ffffffff-ffff").returncode == 2
    unknown = at_stack("runs", "show", "00000000-0000-4000-8000-000000000000")
    assert (unknown.returncode, unknown.stdout) == (1, "")


def test_the_audit_trail_is_numbered_from_one(at_stack: Oncetune, finished: dict[str, object]) -> None:
    told = at_stack("runs", "events", str(finished["run_id"]))
    assert told.returncode == 0
    lines = told.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [str(number) for number in range(1, len(lines) + 1)]
    assert "run.requested" in lines[0]
    assert "run.completed" in lines[-1]
    document = json.loads(at_stack("runs", "events", str(finished["run_id"]), "--json").stdout)
    assert (document["gapless"], len(document["events"])) == (True, len(lines))


def test_watching_a_finished_run_ends_at_once_with_success(at_stack: Oncetune, finished: dict[str, object]) -> None:
    told = at_stack("runs", "watch", str(finished["run_id"]), "--json")
    assert told.returncode == 0
    assert json.loads(told.stdout)["status"] == "completed"


def test_a_run_that_ends_without_success_has_an_exit_code_of_its_own(at_stack: Oncetune, rows: Path) -> None:
    words = ("--kb-id", "refused", "--exp-name", "refused", "--set", "max_length=32", "--set", "max_dropped_share=0")
    told = at_stack("submit", str(rows), *words, "--base-model", "zephyr", "--watch")
    assert told.returncode == 5, told.stderr
    assert "failed" in told.stderr


def test_ctrl_c_of_watch_stops_watching_and_never_the_run(at_stack: Oncetune, stack: Stack, rows: Path) -> None:
    slow = ("--kb-id", "watched", "--exp-name", "slow", "--set", "max_steps=100000")
    run_id = at_stack("submit", str(rows), *slow).stdout.strip()
    given_up = at_stack("runs", "watch", run_id, "--timeout", "0.1")
    assert given_up.returncode == 3
    command = [sys.executable, "-m", "oncetune.cli", "runs", "watch", run_id, "--url", stack.url]
    watching = subprocess.Popen(
        [*command, "--data", str(stack.data)], env=program_environment(), stderr=subprocess.PIPE, text=True
    )
    with watching:
        assert watching.stderr is not None
        assert watching.stderr.readline().startswith(("queued", "running"))
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 130
    assert json.loads(at_stack("runs", "show", run_id, "--json").stdout)["status"] in ("queued", "running")


def test_watching_goes_on_through_a_restart_of_the_server(at_stack: Oncetune, stack: Stack, rows: Path) -> None:
    slow = ("--kb-id", "restart", "--exp-name", "slow", "--set", "max_steps=100000")
    run_id = at_stack("submit", str(rows), *slow).stdout.strip()
    command = [sys.executable, "-m", "oncetune.cli", "runs", "watch", run_id, "--url", stack.url]
    watching = subprocess.Popen(
        [*command, "--data", str(stack.data)], env=program_environment(), stderr=subprocess.PIPE, text=True
    )
    with watching:
        assert watching.stderr is not None
        assert watching.stderr.readline().startswith(("queued", "running"))
        before = stack.pids()["trigger-status"]
        os.kill(before, signal.SIGKILL)
        assert "waiting for it" in next(line for line in watching.stderr if "waiting" in line)
        eventually(lambda: stack.pids().get("trigger-status", before) != before)
        assert next(line for line in watching.stderr if line.startswith(("queued", "running")))
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 130
