"""The report as a whole: its order, its examples, the same for everybody, and no row that it stumbles over."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oncetune import local
from oncetune.contracts.quality import EXAMPLE_CHARACTERS, LINES_KEPT
from oncetune.contracts.recipe import Hyperparameters
from oncetune.datasets.quality import examine
from tests.datasets.pairs import clean, found, report_on, write

BASE = clean(100)
DEMO = Path(local.__file__).parent / "politeness" / "train.jsonl"


def test_the_demo_set_has_no_error_and_what_is_said_of_it_is_true():
    report = examine(DEMO, hyperparameters=Hyperparameters())
    assert report.errors == ()
    assert {seen.code: (seen.level, seen.count) for seen in report.findings} == {
        "format_bias_exclamation": ("warning", 220),  # each chosen answer exclaims its courtesy
        "opening_bias_chosen": ("info", 72),
    }
    assert report.numbers["language_en_share"] + 0.5 > 1


def test_the_gravest_finding_comes_first_and_then_the_most_frequent(tmp_path):
    pairs = [
        *BASE,
        *({**BASE[row], "chosen": BASE[row]["chosen"] + " \ufffd"} for row in (0, 20, 21)),
        *({**BASE[row], "prompt": "Well? " * row + "Is it?", "rejected": BASE[row]["chosen"]} for row in (1, 2, 3)),
        BASE[9],
        BASE[9],
    ]
    report = report_on(tmp_path, pairs)
    assert [(seen.code, seen.level) for seen in report.findings] == [
        ("equal_answers", "error"),
        ("replacement_characters", "warning"),
        ("duplicate_rows", "warning"),
        ("duplicate_prompts", "info"),
        ("near_duplicate_rows", "info"),
    ]
    assert [seen.code for seen in report.errors] == ["equal_answers"]


def test_a_finding_names_the_first_twenty_lines_and_counts_all(tmp_path):
    seen = found(report_on(tmp_path, [*BASE, *BASE[:60]]))["duplicate_rows"]
    assert seen.lines == tuple(range(101, 101 + LINES_KEPT))
    assert seen.count == 60


def test_an_example_is_one_short_line_that_is_safe_on_a_terminal_and_no_message_quotes_it(tmp_path):
    text = "secretword \x1b[31m\u202e\n" * 40
    pairs = [{**pair, "chosen": f"{text}{row}", "rejected": f"{text}{row}"} for row, pair in enumerate(BASE)]
    report = report_on(tmp_path, [*pairs, *pairs])
    assert found(report).keys() >= {"equal_answers", "control_characters", "hidden_characters", "duplicate_rows"}
    for seen in report.findings:
        assert "secretword" not in seen.message
        assert seen.example is None or (seen.example.isprintable() and len(seen.example) <= EXAMPLE_CHARACTERS)
    assert found(report)["equal_answers"].example.startswith(r"secretword \x1b[31m\u202e secretword")


def test_secrets_are_never_an_example(tmp_path):
    key = "ghp_" + "a1B2" * 9
    report = report_on(tmp_path, [*BASE, {**BASE[0], "prompt": "Whose is it?", "chosen": key}])
    assert found(report)["secrets"].lines == (101,)
    assert key not in report.model_dump_json()


def test_two_processes_write_the_same_report(tmp_path):
    path = write(tmp_path / "pairs.jsonl", [*BASE, *BASE[:3], *({**pair, "chosen": "Ü!"} for pair in BASE[:30])])
    code = (
        "import sys; from pathlib import Path; from oncetune.contracts.recipe import Hyperparameters;"
        "from oncetune.datasets.quality import examine;"
        "print(examine(Path(sys.argv[1]), hyperparameters=Hyperparameters()).model_dump_json())"
    )
    reports = {
        subprocess.run(
            [sys.executable, "-c", code, path],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(reports) == 1
    assert b"near_duplicate_rows_share" in reports.pop()


def test_an_empty_file_is_a_report_of_no_rows(tmp_path):
    report = report_on(tmp_path, [])
    assert (report.rows, report.findings, report.numbers) == (0, (), {})


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
TURNS = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": TEXT}),
    max_size=4,
)
SIDE = TEXT | TURNS
PAIRS = st.lists(st.fixed_dictionaries({"prompt": SIDE, "chosen": SIDE, "rejected": SIDE}), min_size=1, max_size=30)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(pairs=PAIRS)
def test_no_pair_is_too_odd_for_a_report(tmp_path, pairs):
    report = report_on(tmp_path, pairs)
    assert report.rows == len(pairs)
    for seen in report.findings:
        assert 1 <= seen.count <= len(pairs)
        assert list(seen.lines) == sorted(set(seen.lines))
        assert all(1 <= line <= len(pairs) for line in seen.lines)
    assert all(number == number for number in report.numbers.values())  # no NaN, which is no JSON


HUGE = {
    "words": "a " * 2**19,
    "marks": "a" + "\u0301\u0327" * 2**18,
    "stars": "**" * 2**19,
    "lines": "\n" * 2**20,
    "spaces": " " * 2**20,
    "list": "- " * 2**19,
    "hashes": "#" * 2**20,
    "speakers": "\nHuman: " * 2**17,
    "angles": "<|" * 2**19,
    "invisible": "\u200b" * 2**20,
    "mojibake": "Ã" * 2**20,
    "capitals": "É…" * 2**19,
    "backslashes": "\\n" * 2**19,
    "keys": "sk-" + "-" * 2**20,
    "han": "漢字" * 2**19,
    "sorry": "very " * 2**18,
}


@pytest.mark.parametrize("name", HUGE)
def test_a_row_of_a_mebibyte_takes_no_more_time_than_its_length(tmp_path, name):
    text = HUGE[name]
    pair = {"prompt": text, "chosen": text + "1", "rejected": "I'm " + text}
    path = write(tmp_path / "pairs.jsonl", [pair])
    began = time.process_time()
    examine(path, hyperparameters=Hyperparameters())
    assert time.process_time() - began < 15  # about a second where it is linear, minutes where it is not
