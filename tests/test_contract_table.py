"""The table of the gateway contract names tests that exist."""

import re
from pathlib import Path

TESTS = Path(__file__).parent


def test_every_test_that_the_contracts_table_names_exists():
    named = set(re.findall(r"`(test_\w+)`", (TESTS / "README.md").read_text()))
    defined = {name for file in TESTS.rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())}
    assert len(named) > 30
    assert named - defined == set()
