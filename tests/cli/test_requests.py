"""`oncetune submit` and `oncetune runs` against a running stack."""

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from oncetune.cli.client import Client, Unreachable
from oncetune.local.up import Stack
from tests.cli.conftest import Oncetune
from tests.deadline import eventually
from tests.stack import ROWS, client_of, program_environment

QUICK = ("--exp-name", "toy", "--set", "max_steps=2")


@pytest.fixture(scope="module")
def finished(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """A run that was submitted and followed to its end, as `--json --watch` tells it."""
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


@pytest.fixture
def slow_run(stack: Stack, at_stack: Oncetune, rows: Path) -> Iterator[str]:
    """The id of a run that does not end by itself; it is cancelled after the test."""
    words = ("--kb-id", uuid.uuid4().hex, "--exp-name", "slow", "--set", "max_steps=100000")
    run_id = at_stack("submit", str(rows), *words).stdout.strip()
    yield run_id
    with client_of(stack) as client:
        eventually(lambda: cancelled(client, run_id), seconds=30, every=0.2)


def cancelled(client: Client, run_id: str) -> bool:
    """Ask for the end of a run; whether it has ended. A server that restarts is asked again."""
    try:
        return client.post(f"/runs/{run_id}/cancel", b"", {})[0]["status"] == "cancelled"
    except Unreachable:
        return False


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


def test_a_second_active_run_of_a_kb_is_a_failure_that_names_the_first(
    at_stack: Oncetune, rows: Path, slow_run: str
) -> None:
    kb_id = json.loads(at_stack("runs", "show", slow_run, "--json").stdout)["kb_id"]
    second = at_stack("submit", str(rows), "--kb-id", kb_id, *QUICK)
    assert second.returncode == 1
    assert slow_run in second.stderr


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


def test_a_run_that_ends_without_success_has_an_exit_code_of_its_own(stack: Stack, slow_run: str) -> None:
    with watching(stack, slow_run) as watch:
        with client_of(stack) as client:
            client.post(f"/runs/{slow_run}/cancel", b"", {})
        assert "oncetune: The run is cancelled\n" in list(watch.stderr or ())
        assert watch.wait(10) == 5


def test_a_run_that_takes_too_long_to_watch_has_one_too(at_stack: Oncetune, slow_run: str) -> None:
    assert at_stack("runs", "watch", slow_run, "--timeout", "0.1").returncode == 3


def test_ctrl_c_of_watch_stops_watching_and_never_the_run(at_stack: Oncetune, stack: Stack, slow_run: str) -> None:
    with watching(stack, slow_run) as watch:
        watch.send_signal(signal.SIGINT)
        assert watch.wait(10) == 130
    assert json.loads(at_stack("runs", "show", slow_run, "--json").stdout)["status"] in ("queued", "running")


def test_watching_goes_on_through_a_restart_of_the_server(stack: Stack, slow_run: str) -> None:
    with watching(stack, slow_run) as watch:
        assert watch.stderr is not None
        before = stack.pids()["trigger-status"]
        os.kill(before, signal.SIGKILL)
        assert next(line for line in watch.stderr if "the run goes on" in line)
        assert next(line for line in watch.stderr if line.startswith(("queued", "running")))
        assert stack.pids()["trigger-status"] != before


def test_a_submission_sent_while_the_server_is_down_makes_one_run(at_stack: Oncetune, stack: Stack, rows: Path) -> None:
    words = ("submit", str(rows), "--kb-id", "patient", *QUICK, "--json")
    with beginning(stack, *words, stdout=subprocess.PIPE) as submit:
        assert submit.stderr is not None
        with kept_down(stack):
            assert next(line for line in submit.stderr if "trying again with the same key" in line)
        told, _ = submit.communicate(timeout=120)
    assert submit.returncode == 0
    runs = json.loads(at_stack("runs", "list", "--kb-id", "patient", "--json").stdout)["runs"]
    assert [run["run_id"] for run in runs] == [json.loads(told)["run_id"]]


@contextmanager
def kept_down(stack: Stack) -> Iterator[None]:
    """The server is killed again whenever it comes up."""
    up_again = threading.Event()

    def kill() -> None:
        while not up_again.wait(0.05):
            with suppress(KeyError, ProcessLookupError):
                os.kill(stack.pids()["trigger-status"], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        up_again.set()
        killer.join()


@contextmanager
def beginning(stack: Stack, *words: str, **pipes: int) -> Iterator[subprocess.Popen[str]]:
    """A command that is at work; killed in the end."""
    command = [sys.executable, "-m", "oncetune.cli", *words, "--url", stack.url, "--data", str(stack.data)]
    with subprocess.Popen(command, env=program_environment(), stderr=subprocess.PIPE, text=True, **pipes) as begun:
        try:
            yield begun
        finally:
            begun.kill()


@contextmanager
def watching(stack: Stack, run_id: str) -> Iterator[subprocess.Popen[str]]:
    """A `runs watch` that has shown its first line."""
    with beginning(stack, "runs", "watch", run_id) as watch:
        assert watch.stderr is not None
        assert watch.stderr.readline().startswith(("queued", "running"))
        yield watch
