"""`oncetune dataset check`, and what `oncetune submit` makes of the same files; nothing here needs torch."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from oncetune.datasets.packing import pack_rows
from oncetune.datasets.rows import validate_rows
from tests.cli.conftest import Oncetune
from tests.cli.small_server import SmallServer, small_server
from tests.datasets.given import MESSAGES, OPENAI, TEXT, WHOLE, array, gzipped, jsonl
from tests.stack import program_environment

ROWS = [TEXT, TEXT | {"prompt": "And what is 1 + 2?", "chosen": "Three.", "rejected": "Two."}]
EQUAL = TEXT | {"prompt": "And now?", "rejected": TEXT["chosen"]}
SWAPPED = TEXT | {"chosen": TEXT["rejected"], "rejected": TEXT["chosen"]}
RUN = {"run_id": "0199f3a4-6c1e-7d52-9a3b-5e8f0c2d4b61", "status": "queued"}

Checked = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def checked(oncetune: Oncetune, tmp_path: Path) -> Checked:
    """Check a file with this content: the exit code, the document, and what was told beside it."""

    def check(content: bytes, *words: str, **settings: str) -> tuple[int, dict[str, Any], str]:
        (tmp_path / "rows").write_bytes(content)
        told = oncetune("dataset", "check", "rows", "--json", *words, **settings)
        assert "Traceback" not in told.stderr
        return told.returncode, json.loads(told.stdout), told.stderr

    return check


@pytest.mark.parametrize("write", [array, jsonl, gzipped], ids=["array", "lines", "gzip"])
def test_a_check_tells_format_and_fingerprints_whatever_the_file_is_called(
    checked: Checked, write: Callable[[Sequence[object]], bytes]
) -> None:
    code, document, told = checked(write(ROWS), "--quality-gate", "off")
    packed = pack_rows(validate_rows(ROWS))
    assert (code, told) == (0, "")
    assert document == {
        "ok": True,
        "refusal": None,
        "format": "text",
        "rows": 2,
        "bytes": packed.byte_count,
        "sha256": packed.sha256,
        "set_sha256": packed.set_sha256,
        "longest": [{"row": 2, "bytes": packed.byte_count - 69}, {"row": 1, "bytes": 69}],
        "notes": [],
        "quality": None,
    }


def test_a_check_reads_standard_input_and_tells_a_person_what_it_found(oncetune: Oncetune) -> None:
    rows = [WHOLE | {"score": 1}, OPENAI, TEXT]
    told = oncetune("dataset", "check", "-", said=jsonl(rows).decode())
    lines = {line.split()[0]: line for line in told.stdout.splitlines()}
    assert told.returncode == 0, told.stderr
    assert lines["format"].split()[1] == "mixed"
    assert lines["rows"].split()[1] == "3"
    assert "score (1 row)" in told.stdout and "The prompt is what chosen and rejected begin with: 1 row." in told.stdout
    assert "warning: few_rows, 3 rows" in told.stdout


def test_errors_of_quality_refuse_only_where_the_gate_blocks(checked: Checked) -> None:
    content = jsonl([*ROWS, SWAPPED])
    for gate, code in (("off", 0), ("warn", 0), ("block", 1)):
        returned, document, told = checked(content, "--quality-gate", gate)
        assert (returned, document["ok"]) == (code, code == 0)
        assert ("contradictory_pairs" in told) == (gate == "block")
        assert (document["quality"] is None) == (gate == "off")
    assert document["refusal"]["code"] == "dataset_quality"
    assert checked(jsonl(ROWS), "--quality-gate", "block")[0] == 0
    assert checked(content, ONCETUNE_TRIGGER_QUALITY_GATE="block")[0] == 1, "where a server's setting is known"


@pytest.mark.parametrize("gate", ["off", "warn"])
def test_more_equal_answers_than_may_be_left_out_are_refused_at_any_gate_as_a_run_refuses_them(
    checked: Checked, gate: str
) -> None:
    returned, document, told = checked(jsonl([*ROWS, EQUAL]), "--quality-gate", gate)
    assert (returned, document["ok"], document["refusal"]["code"]) == (1, False, "equal_answers")
    assert "In 1 of 3 rows chosen and rejected are the same" in told and "(row 3)" in told
    returned, document, told = checked(jsonl([*ROWS, EQUAL]), "--quality-gate", gate, "--set", "max_dropped_share=0.4")
    assert (returned, document["ok"], document["refusal"], told) == (0, True, None, "")
    everything = checked(jsonl([EQUAL]), "--quality-gate", gate, "--set", "max_dropped_share=1")
    assert (everything[0], everything[1]["refusal"]["code"]) == (1, "equal_answers")


@pytest.mark.parametrize("gate", ["off", "warn"])
def test_a_refusal_for_equal_answers_names_no_row_that_is_only_too_long(checked: Checked, gate: str) -> None:
    content = jsonl([TEXT | {"prompt": "Why? " * 33}, *ROWS, EQUAL])
    _, document, told = checked(content, "--quality-gate", gate, "--set", "max_length=32")
    assert document["refusal"]["code"] == "equal_answers"
    assert "(row 4)" in told


@pytest.mark.parametrize("gate", ["off", "warn"])
def test_more_words_than_max_length_has_tokens_in_too_many_rows_are_refused_at_any_gate(
    checked: Checked, gate: str
) -> None:
    content = jsonl([*ROWS, TEXT | {"prompt": "Why? " * 33}])
    returned, document, told = checked(content, "--quality-gate", gate, "--set", "max_length=32")
    assert (returned, document["ok"], document["refusal"]["code"]) == (1, False, "rows_too_long")
    assert "1 of 3 rows have more words than max_length (32 tokens)" in told and "(row 3)" in told
    allowed = checked(content, "--quality-gate", gate, "--set", "max_length=32", "--set", "max_dropped_share=0.4")
    assert (allowed[0], allowed[1]["notes"]) == (0, [])


@pytest.mark.parametrize("gate", ["off", "warn"])
def test_where_only_the_estimated_lengths_would_refuse_a_run_the_check_says_so_and_does_not_fail(
    checked: Checked, gate: str
) -> None:
    content = jsonl([*ROWS, TEXT | {"prompt": "Why?" * 33}])
    returned, document, told = checked(content, "--quality-gate", gate, "--set", "max_length=32")
    assert (returned, document["ok"], document["refusal"], told) == (0, True, None, "")
    [note] = document["notes"]
    assert "by an estimate 1 of 3 rows" in note and "tokenizer" in note


@pytest.mark.parametrize(
    ("content", "code", "sentence"),
    [
        (jsonl([TEXT, TEXT | {"chosen": ""}]), "invalid_dataset", "line 2: chosen is empty"),
        (jsonl([{"promt": "a b", "chosen": "a b c", "rejected": "a b d"}]), "invalid_dataset", "call it prompt"),
        (b'[{"prompt"', "invalid_dataset", "row 1 cannot be read as JSON"),
        (b"", "invalid_dataset", "no rows"),
        (b"prompt,chosen\n", "unknown_format", "no JSON array"),
        (gzipped(ROWS)[:-9], "dataset_truncated", "gzip"),
        (b"\n" * 2**20 + jsonl(ROWS), "dataset_too_large", "1048576 bytes"),
        (gzip.compress(b"\n" * 2**20 + jsonl(ROWS)), "dataset_too_large", "1048576 bytes"),
    ],
    ids=["bad row", "misspelt", "cut array", "empty", "csv", "cut gzip", "too large", "too large once decoded"],
)
def test_what_a_run_would_refuse_is_refused_with_exit_code_1(
    checked: Checked, content: bytes, code: str, sentence: str
) -> None:
    returned, document, told = checked(content, "--max-mb", "1")
    assert returned == 1
    assert (document["ok"], document["refusal"]["code"]) == (False, code)
    assert sentence in document["refusal"]["message"]
    assert sentence in told


def test_the_limit_is_that_of_the_service_whose_environment_it_is(checked: Checked) -> None:
    content = b"\n" * 2**20 + jsonl(ROWS)
    assert checked(content, DPO_MAX_DATASET_SIZE_MB="1")[0] == 1
    assert checked(content)[0] == 0


@pytest.mark.parametrize(
    "words",
    [("nothing.jsonl",), (".",), ("rows", "--set", "beta=99"), ("rows", "--set", "betta=1"), ("rows", "--set", "x")],
)
def test_a_check_of_nothing_or_with_wrong_hyperparameters_is_a_matter_of_usage(
    oncetune: Oncetune, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "rows").write_bytes(jsonl(ROWS))
    told = oncetune("dataset", "check", *words)
    assert (told.returncode, told.stdout) == (2, "")
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize("words", [("--set", "betta=1"), ("--hyperparameters", '{"betta": 1}')])
def test_a_misspelt_hyperparameter_is_told_what_may_be_meant_in_the_server_s_words(
    oncetune: Oncetune, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "rows").write_bytes(jsonl(ROWS))
    told = oncetune("dataset", "check", "rows", *words)
    assert (told.returncode, told.stdout) == (2, "")
    assert "hyperparameters.betta is not known; did you mean beta?" in told.stderr


def test_a_row_is_counted_as_an_editor_counts_lines_and_a_note_tells_of_blank_ones(checked: Checked) -> None:
    bad = TEXT | {"chosen": ""}
    assert "line 4: chosen is empty" in checked(b"\n" + jsonl(ROWS) + jsonl([bad]))[2]
    assert "row 3: chosen is empty" in checked(array([*ROWS, bad]))[2]
    document = checked(b"\n" + jsonl(ROWS) + b"\n\n")[1]
    assert document["notes"] == ["Blank lines were passed over, and rows are counted without them: 1."]


def test_a_check_loads_neither_torch_nor_what_only_services_need(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(jsonl(ROWS))
    code = (
        "import sys; from oncetune.cli.main import app\n"
        "try: app(['dataset', 'check', 'rows'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "sys.exit(str({'torch', 'transformers', 'datasets', 'fastapi', 'sqlalchemy', 'dapr'} & set(sys.modules)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=program_environment()
    )
    assert told.stderr.strip() == "set()"


def test_a_temporary_folder_without_room_is_not_taken_for_a_bad_file(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(jsonl([TEXT]) * 100)
    small = 'ulimit -f 1; exec "$0" -m oncetune.cli dataset check rows'  # no file of more than 1 KiB
    told = subprocess.run(
        ["bash", "-c", small, sys.executable], capture_output=True, text=True, cwd=tmp_path, env=program_environment()
    )
    assert (told.returncode, "Set TMPDIR" in told.stderr, "rows cannot be read" in told.stderr) == (2, True, False)


def submitted(oncetune: Oncetune, *words: str, **settings: str) -> tuple[subprocess.CompletedProcess[str], list[Any]]:
    """What `submit` told, and the bodies that it sent."""
    with small_server(SmallServer({"/trigger-finetune": (200, RUN)})) as server:
        known = {"ONCETUNE_URL": server.url, "DPO_GATEWAY_SHARED_SECRET": "a-secret-of-the-test"}
        told = oncetune("submit", *words, "--kb-id", "k", "--exp-name", "e", **known, **settings)
    return told, [json.loads(body) for body in server.bodies]


@pytest.mark.parametrize("write", [array, jsonl, gzipped], ids=["array", "lines", "gzip"])
def test_a_submission_takes_every_file_of_the_check_and_sends_what_is_trained_on(
    oncetune: Oncetune, tmp_path: Path, write: Callable[[Sequence[object]], bytes]
) -> None:
    (tmp_path / "rows").write_bytes(write([TEXT | {"score": 1}, WHOLE | {"source": "x"}, OPENAI, MESSAGES]))
    told, [body] = submitted(oncetune, "rows")
    assert (told.returncode, told.stdout) == (0, f"{RUN['run_id']}\n")
    assert body["dataset_inline"] == [TEXT, WHOLE, OPENAI, MESSAGES]
    assert "score (1 row), source (1 row)" in told.stderr
    list(validate_rows(body["dataset_inline"]))


def test_a_submission_may_name_a_url_in_place_of_a_file(oncetune: Oncetune, rows: Path) -> None:
    url = "https://example.com/rows.jsonl"
    told, [body] = submitted(oncetune, "--dataset-url", url)
    assert told.returncode == 0, told.stderr
    assert body == {"kb_id": "k", "exp_name": "e", "base_model": "zephyr", "dataset_url": url}
    for words in ((), (str(rows), "--dataset-url", url)):
        told, bodies = submitted(oncetune, *words)
        assert (told.returncode, bodies) == (2, [])
        assert "--dataset-url" in told.stderr


def test_a_row_that_cannot_be_trained_on_is_named_before_anything_is_sent(oncetune: Oncetune, tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(jsonl([TEXT, {"promt": "a b", "chosen": "a b c", "rejected": "a b d"}]))
    told, bodies = submitted(oncetune, "rows")
    assert (told.returncode, told.stdout, bodies) == (1, "", [])
    assert "line 2: prompt is missing; if promt is meant, call it prompt" in told.stderr
