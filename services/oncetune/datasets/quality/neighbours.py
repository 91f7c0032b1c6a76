"""Rows that are nearly the same: the same prompt and the same two answers but for a few words."""

from array import array
from collections import defaultdict
from collections.abc import Iterator

from oncetune.contracts.quality import Finding
from oncetune.datasets.quality.row import Row
from oncetune.datasets.quality.signature import BAND_BYTES, BANDS, PART_BYTES, part, similarity, words
from oncetune.datasets.quality.tally import Numbers, Tally, counted

NEAR = 0.7  # share of the runs of three words that prompt and answers, each, have in common: `signature` says why
MANY_SHARE = 0.1  # above it one row in ten is seen twice, which an epoch more would do, too
MOST_ROWS = 250_000  # that are compared (64 MB of signatures); what comes later in a larger set is not
# In a band that many rows share, each one is compared with this many next to it in the order of their signatures:
# rows that are alike lie together there, and 100,000 rows of one template stay 300,000 comparisons.
NEXT = 3


class Neighbours:
    """Keeps a signature of each distinct row; the bands of all are searched once, at the end."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._signatures = bytearray()
        self.lines = array("I")  # of the rows that are compared, in order
        self._groups: list[list[int]] | None = None

    def see(self, row: Row) -> None:
        if row.key in self._seen or len(self.lines) >= MOST_ROWS:
            return
        self._seen.add(row.key)
        self._signatures += part(row.prompt_words) + part(words(row.chosen), words(row.rejected))
        self.lines.append(row.line)

    def groups(self) -> list[list[int]]:
        """Lines, ascending, of rows that are nearly the same as another of the group; exact copies are left out."""
        if self._groups is None:
            self._seen.clear()
            signatures = bytes(self._signatures)
            self._signatures.clear()
            self._groups = [[self.lines[row] for row in group] for group in _groups(signatures)]
        return self._groups

    def findings(self, rows: int) -> Iterator[Finding]:
        near = Tally(sorted(line for group in self.groups() for line in group[1:]))
        compared = "" if len(self.lines) < MOST_ROWS else f" (of the first {MOST_ROWS:,} distinct rows)"
        yield from near.finding(
            "near_duplicate_rows",
            "warning" if near.share(rows) > MANY_SHARE else "info",
            f"{counted(near.count, rows)} are nearly the same as an earlier row{compared}, prompt and answers alike: "
            "they add little; keep one of each",
        )

    def numbers(self, rows: int) -> Numbers:
        extra = sum(len(group) - 1 for group in self.groups())
        return {"near_duplicate_rows_share": round(extra / rows, 4)}


SIGNATURE_BYTES = 2 * PART_BYTES


def _groups(signatures: bytes) -> list[list[int]]:
    """The rows (from 0) that are near to another, directly or by others between; the order of the rows is no matter."""
    count = len(signatures) // SIGNATURE_BYTES
    first = array("I", range(count))  # union-find: each row points to an earlier one of its group, or to itself

    def root(row: int) -> int:
        while first[row] != row:
            first[row] = row = first[first[row]]
        return row

    for one, other in _candidates(signatures, count):
        low, high = sorted((root(one), root(other)))
        if low != high and _near(_signature(signatures, one), _signature(signatures, other)):
            first[high] = low
    groups: dict[int, list[int]] = defaultdict(list)
    for row in range(count):
        if (group := root(row)) != row:
            groups[group].append(row)
    return [[group, *rows] for group, rows in groups.items()]


def _signature(signatures: bytes, row: int) -> bytes:
    return signatures[row * SIGNATURE_BYTES : (row + 1) * SIGNATURE_BYTES]


def _candidates(signatures: bytes, count: int) -> Iterator[tuple[int, int]]:
    """Pairs of rows that share a band, each with the NEXT ones only; one band at a time is in memory."""
    end = count * SIGNATURE_BYTES
    for band in range(0, BANDS * BAND_BYTES, BAND_BYTES):
        together: dict[bytes, int | list[int]] = {}
        # The band's slots of both parts: two rows meet here only when prompts and answers are alike.
        for row, start in enumerate(range(band, end, SIGNATURE_BYTES)):
            answers = start + PART_BYTES
            key = signatures[start : start + BAND_BYTES] + signatures[answers : answers + BAND_BYTES]
            before = together.setdefault(key, row)
            if isinstance(before, list):
                before.append(row)
            elif before != row:
                together[key] = [before, row]
        for rows in together.values():
            if isinstance(rows, list):
                rows.sort(key=lambda row: _signature(signatures, row))
                for place, one in enumerate(rows):
                    for other in rows[place + 1 : place + 1 + NEXT]:
                        yield one, other


def _near(one: bytes, other: bytes) -> bool:
    return all(
        similarity(one[start : start + PART_BYTES], other[start : start + PART_BYTES]) >= NEAR
        for start in range(0, SIGNATURE_BYTES, PART_BYTES)
    )
