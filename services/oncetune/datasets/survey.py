"""What the rows of a dataset were like when they arrived."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from oncetune.contracts.names import shown
from oncetune.contracts.preferences import DatasetFormat, PreferencePair, RowFormat

_NAMES_TOLD = 8
_NAMES_KEPT = 64


@dataclass
class Survey:
    """Filled while the rows of one dataset are read, by one reader."""

    formats: Counter[RowFormat] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)  # name of a column → rows that had it
    blank_lines: int = 0  # between rows and before them
    place: str = field(default="", compare=False)  # of the row that was read last: `line 3`, see reading.py

    @property
    def format(self) -> DatasetFormat:
        """Of the rows so far; `text` when there is none."""
        if len(self.formats) > 1:
            return "mixed"
        return next(iter(self.formats), "text")

    def watch(self, pairs: Iterable[PreferencePair]) -> Iterator[PreferencePair]:
        """The same pairs, which arrived as they are: text or messages."""
        for number, pair in enumerate(pairs, 1):
            self.place = f"row {number}"
            self.formats[own_format(pair)] += 1
            yield pair

    def leave_out(self, names: Iterable[str]) -> None:
        """Count the columns of a row that are not trained on; a row may bring names of its own for ever."""
        for name in names:
            known = name[:80]
            self.left_out[known if known in self.left_out or len(self.left_out) < _NAMES_KEPT else "others"] += 1

    def notes(self) -> tuple[str, ...]:
        """Sentences for a person, without text of the dataset: what was read otherwise than it stands there."""
        told = []
        if len(self.formats) > 1:
            told.append(f"Rows of several formats: {_counted(self.formats)}.")
        if taken := self.formats["shared_prefix"]:
            told.append(f"The prompt is what chosen and rejected begin with: {counted_rows(taken)}.")
        if self.left_out:
            told.append(f"Columns that are not trained on were left out: {_counted(self.left_out)}.")
        if self.blank_lines:
            told.append(f"Blank lines were passed over, and rows are counted without them: {self.blank_lines}.")
        return tuple(told)


def own_format(pair: PreferencePair) -> RowFormat:
    """Of a row that arrived as prompt, chosen and rejected."""
    is_text = all(isinstance(text, str) for text in (pair.prompt, pair.chosen, pair.rejected))
    return "text" if is_text else "messages"


def counted_rows(rows: int) -> str:
    """`1 row`, `2 rows`."""
    return f"{rows} row" + "s" * (rows != 1)


def _counted(rows_of: Counter[str] | Counter[RowFormat]) -> str:
    names = [f"{shown(name)} ({counted_rows(rows)})" for name, rows in rows_of.most_common(_NAMES_TOLD)]
    if len(rows_of) > _NAMES_TOLD:
        names.append(f"and {len(rows_of) - _NAMES_TOLD} more")
    return ", ".join(names)
