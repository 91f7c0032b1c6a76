"""What the oracle judges: what the client knows, what lies there, and what lay there before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.client_journal import Asked
from tests.chaos.evidence import Evidence, Row


@dataclass(frozen=True)
class Case:
    """What is judged. `earlier`: journal rows of earlier looks, by event."""

    asked: Sequence[Asked]
    evidence: Evidence
    earlier: Mapping[Any, str] = field(default_factory=dict)

    def by_run(self, rows: Sequence[Row]) -> dict[Any, list[Row]]:
        runs: dict[Any, list[Row]] = {run["id"]: [] for run in self.evidence.runs}
        for row in rows:
            runs.setdefault(row["run_id"], []).append(row)
        return runs
