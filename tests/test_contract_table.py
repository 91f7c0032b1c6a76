"""The tables of tests/README.md name tests, and lines of code, that exist."""

import re
from importlib.resources import files
from pathlib import Path

TESTS = Path(__file__).parent
PACKAGE = Path(str(files("oncetune")))


def test_every_test_that_the_contracts_table_names_exists():
    named = set(re.findall(r"`(test_\w+)`", (TESTS / "README.md").read_text()))
    defined = {name for file in TESTS.rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())}
    assert len(named) > 30
    assert named - defined == set()


def test_every_line_that_a_promise_rests_on_exists():
    table = (TESTS / "README.md").read_text().partition("## What each promise rests on")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([LFTABE]) \| `([\w/.]+)`: `([^`]+)` \| `test_\w+` \|$", table, re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\| [LFTABE] ", table, re.MULTILINE))
    assert {promise for promise, _, _ in rows} == set("LFTABE")
    assert [(file, line) for _, file, line in rows if line not in (PACKAGE / file).read_text()] == []
