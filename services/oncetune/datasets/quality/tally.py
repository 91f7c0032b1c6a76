"""Which rows something was seen in, counted."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from oncetune.contracts.quality import LINES_KEPT, Finding, Level
from oncetune.datasets.quality.row import Row, shown

Numbers = dict[str, float | int]


class Check(Protocol):
    """What looks for one kind of thing: it is shown each row, then asked once. Not for use by several threads."""

    def see(self, row: Row) -> None: ...

    def findings(self, rows: int) -> Iterator[Finding]:
        """What was found in the `rows` (≥ 1) that were shown."""
        ...

    def numbers(self, rows: int, /) -> Numbers: ...


class Tally:
    """Rows, each counted once: how many, the first of their lines, an example from the first."""

    def __init__(self, lines: Iterable[int] = ()) -> None:
        self.count = 0
        self._last = 0
        self._lines: list[int] = []
        self._example: str | None = None
        for line in lines:
            self.add(line)

    def add(self, line: int, text: str | None = None) -> None:
        """Count this row; `text` is what an example shows. A row that is added again right away counts once."""
        if line == self._last:
            return
        self._last = line
        self.count += 1
        if len(self._lines) < LINES_KEPT:
            self._lines.append(line)
        if self._example is None and text is not None:
            self._example = shown(text)

    def share(self, rows: int) -> float:
        return self.count / rows

    def finding(self, code: str, level: Level, message: str) -> Iterator[Finding]:
        """One finding, or none where nothing was counted."""
        if self.count:
            lines = tuple(self._lines)
            yield Finding(code=code, level=level, count=self.count, message=message, lines=lines, example=self._example)


def counted(count: int, rows: int) -> str:
    """`3 of 220 rows (1.4 %)`."""
    share = 100 * count / rows
    told = f"{share:.1f}" if share >= 0.1 else "under 0.1"
    return f"{count:,} of {rows:,} rows ({told} %)"
