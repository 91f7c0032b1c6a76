"""The same row again, the same prompt again, and rows that say the opposite of one another."""

from array import array
from collections import Counter
from collections.abc import Iterator

from oncetune.contracts.quality import Finding
from oncetune.datasets.quality.row import Row, Turn, digest
from oncetune.datasets.quality.tally import Numbers, Tally, counted

DUPLICATES_REFUSED_SHARE = 0.5  # more than half the set brings nothing: an accident of export, not a choice of weights
# People who judge the same two answers disagree now and then; of a hundred rows one may. More is a swapped column.
CONTRADICTIONS_REFUSED_SHARE = 0.01


class Repeats:
    """Keeps 25 bytes of each row and compares at the end, so the order of the rows changes no count."""

    def __init__(self) -> None:
        self._rows, self._prompts, self._pairs = array("Q"), array("Q"), array("Q")
        self._forward = bytearray()  # 1: chosen is the one of the two with the smaller hash; 2: rejected is

    def see(self, row: Row) -> None:
        chosen, rejected = _key(row.chosen_turns), _key(row.rejected_turns)
        low, high = sorted((chosen, rejected))
        prompt = int.from_bytes(row.prompt_key[:8])
        self._rows.append(row.key)
        self._prompts.append(prompt)
        self._pairs.append(digest(b"%d %d %d" % (prompt, low, high)))
        self._forward.append(0 if low == high else 1 if chosen == low else 2)

    def findings(self, rows: int) -> Iterator[Finding]:
        duplicates = Tally(_later(self._rows))
        yield from duplicates.finding(
            "duplicate_rows",
            "error" if duplicates.share(rows) > DUPLICATES_REFUSED_SHARE else "warning",
            f"{counted(duplicates.count, rows)} are the same as an earlier row: each one weighs as often as it stands "
            "there; leave them out",
        )
        contradictions = Tally(self._contradictions())
        yield from contradictions.finding(
            "contradictory_pairs",
            "error" if contradictions.share(rows) > CONTRADICTIONS_REFUSED_SHARE else "warning",
            f"{counted(contradictions.count, rows)} contradict another row: the same prompt and the same two answers, "
            "chosen and rejected swapped; keep one of each",
        )
        again = Tally(self._prompts_again())
        yield from again.finding(
            "duplicate_prompts",
            "info",
            f"{counted(again.count, rows)} share their prompt with another, different row; they stay on one side of "
            "the held-out split",
        )

    def numbers(self, rows: int) -> Numbers:
        distinct = len(set(self._rows))
        return {
            "distinct_rows": distinct,
            "distinct_prompts": len(set(self._prompts)),
            "duplicate_rows_share": round((rows - distinct) / rows, 4),
        }

    def _contradictions(self) -> Iterator[int]:
        directions: dict[int, int] = {}
        for pair, forward in zip(self._pairs, self._forward, strict=True):
            directions[pair] = directions.get(pair, 0) | forward
        for line, pair in enumerate(self._pairs, 1):
            if directions[pair] == 1 | 2:
                yield line

    def _prompts_again(self) -> Iterator[int]:
        """Lines, the copies of a row left out, whose prompt stands in another row, too."""
        copies = set(_later(self._rows))
        often = Counter(prompt for line, prompt in enumerate(self._prompts, 1) if line not in copies)
        for line, prompt in enumerate(self._prompts, 1):
            if line not in copies and often[prompt] > 1:
                yield line


def _key(turns: tuple[Turn, ...]) -> int:
    return digest("\x1e".join(f"{turn.role}\x1f{turn.content.strip()}" for turn in turns))


def _later(keys: "array[int]") -> Iterator[int]:
    """The lines (from 1) whose key stood on an earlier line."""
    seen: set[int] = set()
    for line, key in enumerate(keys, 1):
        if key in seen:
            yield line
        seen.add(key)
