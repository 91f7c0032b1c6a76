"""`oncetune runs dataset` and what `runs show` tells of it."""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from oncetune.cli.run_dataset import dataset_words, quality_words
from oncetune.contracts.quality import Finding, QualityReport
from oncetune.ledger.datasets import store_quality
from oncetune.postgres import transaction
from tests.cli.conftest import Oncetune
from tests.cli.small_server import SmallServer, small_server
from tests.datasets.unpacking import unpack_rows
from tests.ledger.given import ADAPTER, ROWS, SHOWN_URL, change, claim, count, record, record_url
from tests.status.given import finish

FINDINGS = (
    Finding(
        code="equal_answers",
        level="error",
        count=30,
        message="30 rows have the same text twice; remove them",
        lines=tuple(range(1, 21)),
        example="Yes.\x1b[2J",
    ),
    Finding(code="long_rows", level="warning", count=1, message="1 row is cut", lines=(7,)),
)


@pytest.fixture
def looked_at(engine) -> str:
    """The id of a run whose rows were looked at, and trained before."""
    first = record(engine("trigger"), "first").run_id
    finish(engine, claim(engine("trainer"), run_id=first), state="completed", **ADAPTER)
    run_id = record(engine("trigger"), "second").run_id
    with transaction(engine("trainer")) as session:
        store_quality(session, claim(engine("trainer"), run_id=run_id), QualityReport(rows=1, findings=FINDINGS))
    return str(run_id)


def test_the_rows_their_fingerprints_and_each_finding_are_told(at_services: Oncetune, looked_at: str) -> None:
    told = at_services("runs", "dataset", looked_at[:8])
    assert told.returncode == 0, told.stderr
    facts = dict(line.split(maxsplit=1) for line in told.stdout.splitlines()[:7])
    assert (facts["source"], facts["format"], facts["quality"]) == ("inline", "text", "1 error, 1 warning")
    assert facts["sha256"].startswith(ROWS.sha256) and facts["set"].startswith(ROWS.set_sha256)
    assert facts["rows"].startswith("1 (")
    lines = told.stdout.splitlines()
    table = lines[lines.index("") + 1 :]
    assert table[0].split() == ["LEVEL", "FINDING", "COUNT", "ROWS"]
    assert table[1].split(maxsplit=3) == ["error", "equal_answers", "30", "1, 2, 3, 4, 5, 6, 7, 8, …"]
    assert table[2].strip() == FINDINGS[0].message
    assert table[3].strip() == r"for example: Yes.\x1b[2J", "no terminal does what a row says"
    assert table[4].split() == ["warning", "long_rows", "1", "7"]


def test_a_dataset_that_is_not_stored_says_so_and_hides_what_may_be_secret(at_services: Oncetune, engine) -> None:
    told = at_services("runs", "dataset", str(record_url(engine("trigger"))))
    assert [line.split() for line in told.stdout.splitlines()] == [
        ["source", "url", SHOWN_URL],
        ["rows", "not", "stored"],
    ]
    assert "secret" not in told.stdout


def test_what_was_read_otherwise_than_it_stood_there_is_told(at_services: Oncetune, looked_at: str, engine) -> None:
    change(engine(None), 'UPDATE ledger.run SET dataset_notes = \'["One.", "Two."]\'')
    lines = at_services("runs", "dataset", looked_at).stdout.splitlines()
    assert [line.split(maxsplit=1) for line in lines[2:4]] == [["note", "One."], ["note", "Two."]]


def test_machines_get_the_whole_answer(at_services: Oncetune, looked_at: str) -> None:
    told = json.loads(at_services("runs", "dataset", looked_at, "--json").stdout)
    assert (told["rows"], told["quality"]["findings"][0]["count"]) == (1, 30)


def test_a_run_is_shown_with_its_rows_its_quality_and_the_run_that_it_repeats(
    at_services: Oncetune, looked_at: str, engine
) -> None:
    parent = "0199f2b0-11aa-7c3d-8e4f-0a1b2c3d4e5f"
    change(engine(None), "UPDATE ledger.run SET parent_run_id = CAST(:parent AS uuid)", parent=parent)
    told = at_services("runs", "show", looked_at)
    facts = dict(line.split(maxsplit=1) for line in told.stdout.splitlines() if "  " in line)
    assert facts["dataset"].startswith(f"1 rows {ROWS.sha256[:12]} (text), trained before in ")
    assert (facts["quality"], facts["parent_run_id"]) == ("1 error, 1 warning", parent)


def test_the_rows_are_downloaded_whole_under_their_hash_with_a_token_that_nobody_sees(
    at_services: Oncetune, looked_at: str, engine, tmp_path: Path
) -> None:
    told = at_services("runs", "dataset", looked_at, "--download", "rows.jsonl")
    assert (told.returncode, told.stdout) == (0, ""), told.stderr
    rows = (tmp_path / "rows.jsonl").read_bytes()
    assert rows == unpack_rows(ROWS.chunks, sha256=ROWS.sha256)
    assert hashlib.sha256(rows).hexdigest() in told.stderr
    assert count(engine(None), "ledger.download_token") == 1
    assert "token" not in told.stderr


def test_rows_that_cannot_be_had_leave_no_file(at_services: Oncetune, engine, tmp_path: Path) -> None:
    early = str(record_url(engine("trigger"), "early"))
    told = at_services("runs", "dataset", early, "--download", "rows.jsonl")
    assert told.returncode == 1 and "not stored yet" in told.stderr
    run_id = str(record(engine("trigger")).run_id)
    (tmp_path / "file").touch()
    for nowhere in ("no/such/folder", "file/rows.jsonl"):
        told = at_services("runs", "dataset", run_id, "--download", nowhere)
        assert told.returncode == 2 and "cannot be written" in told.stderr
    (tmp_path / "file").unlink()
    assert count(engine(None), "ledger.download_token") == 1, "no token was issued for nothing, but the early run's"
    change(engine(None), "UPDATE ledger.dataset_chunk SET content = 'spoilt'")
    assert at_services("runs", "dataset", run_id, "--download", "rows.jsonl").returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_rows_that_are_not_the_promised_ones_leave_no_file(oncetune: Oncetune, tmp_path: Path) -> None:
    run_id = "0199f2b0-11aa-7c3d-8e4f-0a1b2c3d4e5f"
    answers = {f"/runs/{run_id}/dataset-token": (200, {"token": "t"}), "/api/datasets/download": (200, "{}")}
    promise = {"Repr-Digest": f"sha-256=:{base64.b64encode(bytes(32)).decode()}:"}
    with small_server(SmallServer(answers, headers=promise)) as server:
        words = ("runs", "dataset", run_id, "--download", "rows.jsonl", "--url", server.url)
        told = oncetune(*words, DPO_GATEWAY_SHARED_SECRET="a-secret-of-the-tests-only")
    assert told.returncode == 1 and "not those that the server promised" in told.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (None, "not looked at"),
        ({"findings": []}, "nothing found"),
        ({"findings": [{"level": "info"}, {"level": "error"}, {"level": "info"}]}, "1 error, 2 notes"),
    ],
)
def test_a_quality_report_in_short(report: object, words: str) -> None:
    assert quality_words(report) == words


def test_a_dataset_in_short() -> None:
    assert dataset_words({}) == "not stored"
    assert dataset_words({"rows": 3, "sha256": "ab" * 32}) == "3 rows abababababab"
