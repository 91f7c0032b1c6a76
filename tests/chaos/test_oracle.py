"""The oracle is silent about a faultless history, and each way to break one is caught by the rule that names it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import make_url

from oncetune.postgres import connect
from tests.chaos.dataset_rules import LEARNED_FROM
from tests.chaos.evidence import gather, journal_rows
from tests.chaos.history import History, write_history
from tests.chaos.oracle import RULES, verdict
from tests.chaos.quiescence import Judge
from tests.chaos.spoilt import CONTRACT, DEAD, LEARNED, LEFT, SPOILT, STAGED
from tests.chaos.spoilt_datasets import SPOILT_DATASETS


@pytest.fixture(scope="module")
def faultless(
    server_url: str, template: str, administer: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """The database and the folder of a faultless history."""
    name = f"history_{uuid4().hex}"
    administer(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
    folder = tmp_path_factory.mktemp("history")
    owner = connect(url, role=None, pool_size=1)
    history = History(url, folder / "client.jsonl", folder / "artifacts", {})
    write_history(owner, history)
    owner.dispose()
    yield name, folder
    administer(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def history(
    faultless: tuple[str, Path], server_url: str, administer: Callable[[str], None], tmp_path: Path
) -> Iterator[History]:
    """A copy of it, and the look that was taken before."""
    name = f"spoilt_{uuid4().hex}"
    administer(f"CREATE DATABASE {name} TEMPLATE {faultless[0]} STRATEGY file_copy")
    url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
    (tmp_path / "client.jsonl").write_bytes((faultless[1] / "client.jsonl").read_bytes())
    (tmp_path / "served.jsonl").write_bytes((faultless[1] / "served.jsonl").read_bytes())
    history = History(url, tmp_path / "client.jsonl", faultless[1] / "artifacts", {})
    history.earlier = journal_rows(gather(url, history.places))
    yield history
    administer(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_faultless_history_has_nothing_broken(history):
    assert verdict(history.case()) == []


@pytest.mark.parametrize(("rule", "sql"), [*SPOILT, *SPOILT_DATASETS])
def test_what_is_spoilt_in_the_database_is_caught(history, rule, sql):
    history.spoil(sql)

    assert rule in history.broken()


def test_a_dead_letter_that_is_an_event_of_the_outbox_is_no_harm(history):
    history.spoil(DEAD.format("convert_to(event::text, 'UTF8')"))

    assert history.broken() == set()


@pytest.mark.parametrize(
    ("status", "retry_after"),
    [(500, None), (500, "5"), (503, None), (502, None), (204, None), (409, None), (401, None), (422, "5")],
)
def test_an_answer_that_the_contract_does_not_have_is_caught(history, status, retry_after):
    history.ask("lost", status, retry_after=retry_after)

    assert history.broken() == {CONTRACT}


def test_a_row_that_changed_between_two_looks_is_caught_by_every_later_look(history):
    judge = Judge(history.url, history.places, history.journal)
    judge.look_if_it_answers()
    history.spoil("UPDATE audit.journal SET received_at = received_at + interval '1 s' WHERE type = 'run.failed'")
    judge.look_if_it_answers()

    for _ in range(2):
        assert {one.rule for one in judge.judge(seconds=0)} == {"the_journal_never_changed"}


def test_an_answer_that_named_another_run_is_caught(history):
    history.ask("completed", 200, str(uuid4()))

    assert history.broken() == {"every_answer_is_its_run"}


def test_an_answer_that_accepted_and_named_no_run_is_caught(history):
    history.ask("unknown", 200, None)

    assert history.broken() == {"every_answer_is_its_run"}


def test_an_accepted_request_without_a_run_is_caught(history):
    history.ask("never-recorded", 200, str(uuid4()))

    assert history.broken() == {"every_answer_is_its_run"}


def test_a_refused_request_with_a_run_is_caught(history):
    history.spoil("UPDATE ledger.run SET kb_id = 'refused' WHERE kb_id = 'failed'")

    assert "every_answer_is_its_run" in history.broken()


def test_a_run_for_which_the_client_lost_every_line_is_caught(history):
    kept = [line for line in history.journal.read_bytes().splitlines(keepends=True) if b'"failed"' not in line]
    history.journal.write_bytes(b"".join(kept))

    assert history.broken() == {"every_answer_is_its_run"}


def test_an_answer_that_was_lost_leaves_its_run_allowed(history):
    lines = history.journal.read_bytes().splitlines(keepends=True)
    sent = next(number for number, line in enumerate(lines) if b'"failed"' in line)
    history.journal.write_bytes(b"".join(lines[: sent + 1] + lines[sent + 2 :]))

    assert history.broken() == set()


@pytest.mark.parametrize("spoiling", ["another byte", "deleted", "of a lost attempt"])
def test_what_is_spoilt_on_the_disk_is_caught(history, spoiling, tmp_path):
    copy = tmp_path / "artifacts"
    shutil.copytree(history.artifacts, copy)
    adapter = next(path for path in copy.glob("*/2/adapter") if path.is_dir())
    if spoiling == "another byte":
        (adapter / "weights").write_text("other")
    elif spoiling == "deleted":
        shutil.rmtree(adapter)
    else:
        shutil.copytree(adapter, adapter.parent.parent / "1" / "adapter")
    history.artifacts = copy

    assert history.broken() == {"every_completed_run_has_its_one_adapter"}


@pytest.mark.parametrize("spoiling", ["another byte", "deleted"])
def test_a_file_of_a_result_that_is_spoilt_on_the_disk_is_caught(history, spoiling, tmp_path):
    history.artifacts = Path(shutil.copytree(history.artifacts, tmp_path / "artifacts"))
    archive = next(history.artifacts.glob("*/2/adapter.tar"))
    archive.write_text("other") if spoiling == "another byte" else archive.unlink()

    assert history.broken() == {"every_file_of_a_result_is_as_recorded"}


def test_results_that_retention_took_are_no_loss(history, tmp_path):
    history.spoil("UPDATE ledger.run SET files_removed_at = now() WHERE state = 'completed'")
    assert history.broken() == set()  # marked, and not taken away yet
    history.artifacts = tmp_path / "emptied"

    assert history.broken() == set()


@pytest.mark.parametrize("what", ["2.arriving", "checkpoints/1/5"])
def test_what_a_killed_attempt_left_behind_for_ever_is_caught(history, what, tmp_path):
    copy = tmp_path / "artifacts"
    shutil.copytree(history.artifacts, copy)
    run = next(run for run in history.case().evidence.runs if run["kb_id"] == "completed")
    (copy / str(run["id"]) / what).mkdir(parents=True)
    history.artifacts = copy

    assert history.broken() == {LEFT}


def test_an_adapter_that_learned_from_other_rows_is_caught(history, tmp_path):
    history.artifacts = Path(shutil.copytree(history.artifacts, tmp_path / "artifacts"))
    run = next(run for run in history.case().evidence.runs if run["kb_id"] == "of-url")
    (history.artifacts / str(run["id"]) / "1" / LEARNED_FROM).write_text("other rows")

    assert LEARNED in history.broken()


def test_a_dataset_that_its_server_gave_to_another_run_is_caught(history):
    history.served.write_text(history.served.read_text().replace('"of-url"', '"completed"'))

    assert history.broken() == {"every_dataset_of_a_url_is_one_answer_of_its_server"}


@pytest.mark.parametrize("name", ["packed", "fetched"])
def test_half_a_dataset_that_is_still_staged_is_caught(history, name):
    folder = history.staging / "an-attempt"
    folder.mkdir(parents=True)
    (folder / name).write_text("{")

    assert history.broken() == {STAGED}


def test_a_rerun_that_was_refused_and_runs_is_caught(history):
    lines = history.journal.read_text().splitlines(keepends=True)
    told = next(number for number, line in enumerate(lines) if '"parent": "' in line and '"status": 200' in line)
    lines[told] = lines[told].replace('"status": 200', '"status": 429').replace('_after": null', '_after": "5"')
    history.journal.write_text("".join(lines))

    assert history.broken() == {"every_answer_is_its_run"}


def test_the_last_checkpoint_of_a_cancelled_run_may_stay(history, tmp_path):
    copy = tmp_path / "artifacts"
    shutil.copytree(history.artifacts, copy)
    run = next(run for run in history.case().evidence.runs if run["kb_id"] == "cancelled")
    (copy / str(run["id"]) / "checkpoints/1/5").mkdir(parents=True)
    history.artifacts = copy

    assert history.broken() == set()


def test_every_rule_was_broken_by_some_test():
    proven = {one.values[0] for one in [*SPOILT, *SPOILT_DATASETS]} | {LEFT, CONTRACT, STAGED}

    assert proven == {rule.__name__ for rule in RULES}
