"""`oncetune runs rerun` and `runs manifest`: the test plays the trainer."""

import json
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from oncetune.cli.rerun import difference_lines
from oncetune.contracts.manifest import differences
from tests.cli.conftest import SECRET, Oncetune
from tests.cli.small_server import SmallServer, small_server
from tests.deadline import eventually
from tests.ledger.given import ADAPTER, claim, record, rows_of
from tests.status.given import finish
from tests.status.test_datasets import MANIFEST


def complete(engine, run_id: str, **told: object) -> None:
    """End the run with a manifest that says this."""
    manifest = MANIFEST.model_dump(mode="json") | {"run_id": run_id} | told
    finish(engine, claim(engine("trainer"), run_id=UUID(run_id)), state="completed", manifest=manifest, **ADAPTER)


@pytest.fixture(autouse=True)
def recorded_model_is_offered(monkeypatch):
    """That of tests/ledger/given.py: nothing else may be trained again."""
    monkeypatch.setenv("ONCETUNE_TRIGGER_MODELS", '{"zephyr": "toy"}')


@pytest.fixture
def parent(engine) -> str:
    run_id = str(record(engine("trigger")).run_id)
    complete(engine, run_id)
    return run_id


def waiting(engine) -> str:
    """The id of the run that waits for a trainer."""
    [run] = eventually(lambda: rows_of(engine(None), "SELECT id FROM ledger.run WHERE state = 'queued'"), seconds=60)
    return str(run.id)


def watched(at_services: Oncetune, engine, parent: str, *words: str, **told: object) -> tuple[str, int, str]:
    """The rerun's id, how the command ended and what it printed, when the rerun's manifest says this."""
    with ThreadPoolExecutor(1) as other:
        command = other.submit(at_services, "runs", "rerun", parent, "--watch", "--timeout", "60", *words)
        run_id = waiting(engine)
        complete(engine, run_id, **told)
        ended = command.result()
    return run_id, ended.returncode, ended.stdout


def test_a_rerun_prints_the_new_id_alone_and_may_have_another_name(at_services: Oncetune, engine, parent: str) -> None:
    told = at_services("runs", "rerun", parent[:13], "--exp-name", "again")
    assert told.returncode == 0, told.stderr
    assert told.stdout.split() == [waiting(engine)]
    assert parent in told.stderr
    shown = json.loads(at_services("runs", "show", told.stdout.strip(), "--json").stdout)
    assert (shown["parent_run_id"], shown["exp_name"]) == (parent, "again")
    second = at_services("runs", "rerun", parent)
    assert second.returncode == 1 and told.stdout.strip() not in second.stdout


def test_a_rerun_that_came_out_the_same_says_so_in_one_sentence(at_services: Oncetune, engine, parent: str) -> None:
    run_id, code, said = watched(at_services, engine, parent, parent_run_id=parent)
    assert (code, said.splitlines()) == (0, [run_id, "Nothing differs: the same adapter weights."])


def test_a_rerun_on_another_machine_says_what_differs(at_services: Oncetune, engine, parent: str) -> None:
    other = {"device": "NVIDIA H100", "packages": {"trl": "2"}, "weights_sha256": "ef" * 32}
    run_id, code, said = watched(at_services, engine, parent, "--json", **other)
    told = json.loads(said)
    assert (code, told["run_id"], told["parent_run_id"], told["status"]) == (0, run_id, parent, "completed")
    assert told["same_weights"] is False
    assert told["differences"]["packages.trl"] == ["1", "2"]


def test_a_rerun_that_failed_ends_with_its_own_code_and_its_id_all_the_same(
    at_services: Oncetune, engine, parent: str
) -> None:
    with ThreadPoolExecutor(1) as other:
        command = other.submit(at_services, "runs", "rerun", parent, "--watch", "--json")
        run_id = waiting(engine)
        finish(engine, claim(engine("trainer")), state="failed", error={"code": "x", "message": "y"})
        ended = command.result()
    assert ended.returncode == 5
    assert json.loads(ended.stdout)["run_id"] == run_id


def test_a_rerun_with_its_key_is_the_same_run_even_after_its_end(at_services: Oncetune, engine, parent: str) -> None:
    first = at_services("runs", "rerun", parent, "--idempotency-key", "mine")
    complete(engine, first.stdout.strip())
    again = json.loads(at_services("runs", "rerun", parent, "--idempotency-key", "mine", "--json").stdout)
    assert (again["run_id"], again["replayed"], again["idempotency_key"]) == (first.stdout.strip(), True, "mine")


def test_a_server_that_goes_away_is_not_taken_for_a_missing_manifest(oncetune: Oncetune) -> None:
    parent, run_id = "0199f3a4-6c1e-7d52-9a3b-5e8f0c2d4b61", "0199f2b0-11aa-7c3d-8e4f-0a1b2c3d4e5f"
    completed = {"run_id": run_id, "status": "completed"}
    answers = {
        f"/runs/{parent}": (200, {"run_id": parent}),
        f"/runs/{parent}/rerun": (200, completed),
        f"/runs/{run_id}": (200, completed),
        f"/runs/{parent}/manifest": (503, {"detail": "The database did not answer"}),
    }
    with small_server(SmallServer(answers)) as server:
        known = {"ONCETUNE_URL": server.url, "DPO_GATEWAY_SHARED_SECRET": SECRET}
        told = oncetune("runs", "rerun", parent, "--watch", **known)
    assert (told.returncode, told.stdout.split()[0]) == (1, run_id)
    assert "The database did not answer" in told.stderr and "cannot be compared" not in told.stdout


def test_differences_are_a_table_and_a_sentence_about_the_weights() -> None:
    other = MANIFEST.model_copy(update={"device": "NVIDIA H100", "hyperparameters": {"beta": 0.2, "max_steps": None}})
    assert [line.split() for line in difference_lines(differences(MANIFEST, other))] == [
        ["DIFFERS", "PARENT", "RERUN"],
        ["device", "cpu", "NVIDIA", "H100"],
        ["hyperparameters.beta", "0.1", "0.2"],
        ["The", "adapter", "weights", "are", "the", "same."],
    ]
    weights = MANIFEST.model_copy(update={"weights_sha256": "ef" * 32})
    [only] = difference_lines(differences(MANIFEST, weights))
    assert "differ" in only and "does not compute the same twice" in only
    assert "cannot be compared" in difference_lines(None)[0]


def test_a_manifest_is_one_fact_a_line_or_the_document(at_services: Oncetune, engine, parent: str) -> None:
    told = at_services("runs", "manifest", parent)
    facts = dict(line.split(maxsplit=1) for line in told.stdout.splitlines())
    assert (facts["device"], facts["hyperparameters.beta"], facts["packages.trl"]) == ("cpu", "0.1", "1")
    assert facts["hyperparameters.max_steps"] == "-"
    assert json.loads(at_services("runs", "manifest", parent, "--json").stdout)["run_id"] == parent
    early = at_services("runs", "manifest", str(record(engine("trigger"), "other").run_id))
    assert early.returncode == 1 and "when the run completes" in early.stderr
