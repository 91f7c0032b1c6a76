"""python -m tests.bench.quality [ROWS [SET…]]: the price of a quality report, on usual text and on text made to hurt.

Each set in a process of its own, on one core; the memory is what the report adds at its peak to what is there before.
"""

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from oncetune.contracts.recipe import Hyperparameters
from oncetune.datasets.quality import examine
from tests.bench.memory import memory, peak
from tests.bench.servers import report
from tests.datasets.pairs import Author, Pair, write

ROWS = 100_000
MEBIBYTE = 2**20


def realistic(rows: int) -> Iterator[Pair]:
    """Of 18 and 130 words, like the published chat sets; one in fifty an edited copy of another."""
    author = Author(1)
    pair = author.pair(answer=130)
    for row in range(rows):
        if row % 50 == 49:
            pair = {**pair, "chosen": pair["chosen"].replace(" the ", " this ", 1)}
        else:
            pair = author.pair(answer=130)
        yield pair


def equal_rows(rows: int) -> Iterator[Pair]:
    pair = Author(2).pair()
    return (pair for _ in range(rows))


def one_template(rows: int) -> Iterator[Pair]:
    """All rows near to all others."""
    pair = Author(3).pair()
    return ({**pair, "chosen": f"{pair['chosen']} Number {row}."} for row in range(rows))


def half_a_template(rows: int) -> Iterator[Pair]:
    """The same prompt and half of the answer: crowded bands, and hardly a pair in them that is near."""
    author, prompt = Author(4), "What do you think of this?"
    common = author.text(60)
    for _ in range(rows):
        yield {"prompt": prompt, "chosen": f"{common} {author.text(40)}", "rejected": f"{common} {author.text(40)}"}


def one_letter(rows: int) -> Iterator[Pair]:
    chance = random.Random(5)
    return ({name: chr(chance.randrange(33, 0xD7FF)) for name in ("prompt", "chosen", "rejected")} for _ in range(rows))


def deep_unicode(rows: int) -> Iterator[Pair]:
    """Marks on marks, scripts beside scripts; a kilobyte a text."""
    chance = random.Random(6)
    signs = ["a\u0300\u0327\u0315", "\u1100\u1161", "हि", "ü", "\u202e", "😀\u200d", "漢", "ﷺ", "\ufffd", "Ã¤"]
    for _ in range(rows):
        yield {name: "".join(chance.choices(signs, k=300)) for name in ("prompt", "chosen", "rejected")}


def one_huge_row(_rows: int) -> Iterator[Pair]:
    yield {"prompt": "a " * MEBIBYTE, "chosen": "\u0301\u0327" * MEBIBYTE, "rejected": "**\n- " * MEBIBYTE}


SETS: dict[str, Callable[[int], Iterator[Pair]]] = {
    "like people's": realistic,
    "all rows equal": equal_rows,
    "all rows nearly equal": one_template,
    "half of each row the same": half_a_template,
    "rows of one letter": one_letter,
    "marks on marks (a tenth of the rows)": lambda rows: deep_unicode(rows // 10),
    "one row of 11 MiB": one_huge_row,
}


def measure(path: Path) -> tuple[int, float, float]:
    """Rows, seconds of this process's own time, MiB added."""
    before = memory(os.getpid())
    with peak(os.getpid()) as highest:
        began = time.process_time()
        rows = examine(path, hyperparameters=Hyperparameters()).rows
        return rows, time.process_time() - began, highest() - before


def quality(rows: int = ROWS, *names: str) -> None:
    """Measure these sets, or all."""
    with tempfile.TemporaryDirectory() as folder:
        for name in names or SETS:
            path = write(Path(folder) / "pairs.jsonl", SETS[name](rows))
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                count, seconds, added = alone.submit(measure, path).result()
            size = path.stat().st_size / MEBIBYTE
            report(
                f"quality, {name}: {count:,} rows, {size:.0f} MiB; seconds, rows/s, MiB added",
                f"{seconds:.1f} {count / seconds:,.0f} {added:.0f}",
            )


if __name__ == "__main__":
    quality(int(sys.argv[1]) if sys.argv[1:] else ROWS, *sys.argv[2:])
