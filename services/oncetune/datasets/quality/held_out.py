"""Whether the rows that are held out would tell the truth: none of them nearly in training, and enough of them."""

from array import array
from collections.abc import Iterator
from functools import cached_property

from oncetune.contracts.quality import Finding
from oncetune.contracts.recipe import Hyperparameters
from oncetune.contracts.split import FEWEST_PROMPTS, held_out_prompts
from oncetune.datasets.quality.neighbours import Neighbours
from oncetune.datasets.quality.row import Row, digest
from oncetune.datasets.quality.tally import Numbers, Tally

KEY_BYTES = 32


class HeldOut:
    """Makes the split that training will make. Equal prompts are on one side by the split itself; what can be on both
    are prompts that differ only in case, spaces or punctuation, and rows that are nearly the same (`neighbours`)."""

    def __init__(self, hyperparameters: Hyperparameters, neighbours: Neighbours) -> None:
        self._asked = hyperparameters
        self._neighbours = neighbours
        self._keys = bytearray()
        self._words = array("Q")

    def see(self, row: Row) -> None:
        self._keys += row.prompt_key
        self._words.append(digest(" ".join(row.prompt_words)))

    def findings(self, rows: int) -> Iterator[Finding]:
        held_out = self._held_out
        if not held_out and self._asked.held_out_share > 0:
            yield Finding(
                code="no_held_out_rows",
                level="info",
                count=rows,
                message=f"no row is held out: {self._asked.held_out_share:.0%} of the prompts, in at most "
                f"{self._asked.held_out_max_rows:,} rows (held_out_max_rows), would be fewer than {FEWEST_PROMPTS}; "
                "the run has no evaluation of its own",
            )
        leaked = Tally(sorted(self._leaked(held_out)))
        yield from leaked.finding(
            "held_out_overlap",
            "warning",
            f"{leaked.count:,} of the {len(held_out):,} rows that are held out are nearly the same as one that is "
            "trained on: accuracy on them would flatter; remove the near duplicates",
        )

    def numbers(self, _rows: int) -> Numbers:
        return {"held_out_rows": len(self._held_out)}

    @cached_property
    def _held_out(self) -> set[int]:
        """Lines (from 1); asked when all rows were seen."""
        if self._asked.held_out_share == 0:
            return set()
        keys = [self._keys[start : start + KEY_BYTES].hex() for start in range(0, len(self._keys), KEY_BYTES)]
        asked = self._asked
        drawn = held_out_prompts(keys, seed=asked.seed, share=asked.held_out_share, max_rows=asked.held_out_max_rows)
        return {line for line, key in enumerate(keys, 1) if key in drawn}

    def _leaked(self, held_out: set[int]) -> set[int]:
        leaked: set[int] = set()
        for group in self._neighbours.groups():
            inside = held_out.intersection(group)
            if len(inside) < len(group):
                leaked |= inside
        wanted = {self._words[line - 1] for line in held_out}
        trained = {words for line, words in enumerate(self._words, 1) if words in wanted and line not in held_out}
        return leaked | {line for line in held_out if self._words[line - 1] in trained}
