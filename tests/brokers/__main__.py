"""python -m tests.brokers (make brokers): the promises on every broker of this machine, and the table as it was seen.

Words after it are pytest's: `-k kafka`, say. The exit code is pytest's, too.
"""

import sys
import time
from pathlib import Path

import pytest

from tests.brokers.table import promises, written


class Seen:
    """What became of each promise: the table's word where all its tests passed, else FAILED."""

    def __init__(self) -> None:
        self.cells: dict[str, dict[str, str]] = {promise: {} for promise in promises()}
        self.kinds: dict[str, str] = {}  # of each broker: which package it was, or which container

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == "broker":
                self.kinds.update([value])
            if name == "promise" and (report.when == "call" or report.failed):
                promise, broker, word = value
                failed = report.failed or self.cells[promise].get(broker) == "FAILED"
                self.cells[promise][broker] = "FAILED" if failed else word


def main() -> int:
    """Run the tests, print the table, return pytest's exit code."""
    seen, began = Seen(), time.monotonic()
    code = pytest.main(["-q", "--durations=10", str(Path(__file__).parent), *sys.argv[1:]], plugins=[seen])
    brokers = "; ".join(f"{name}: {kind}" for name, kind in seen.kinds.items())
    print(f"\n{written(seen.cells)}\n\n{brokers}\n{time.monotonic() - began:.0f} s")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
