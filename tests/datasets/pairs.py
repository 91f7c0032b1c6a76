"""Preference pairs for the quality report: a clean set made by a seed, and its file."""

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from oncetune.contracts.quality import Finding, QualityReport
from oncetune.contracts.recipe import Hyperparameters
from oncetune.datasets.quality import examine

Pair = dict[str, Any]

SYLLABLES = [first + second for first in "bdfgklmnprstvz" for second in ("a", "e", "i", "o", "u", "an", "el", "or")]
SMALL = ["the", "of", "and", "to", "is", "in", "that", "with", "for", "as", "on", "by", "it", "at", "from"]


class Author:
    """Writes sentences of made-up words, as long as those of people, the common words common; the same for a seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        vocabulary = ["".join(self.chance.choices(SYLLABLES, k=self.chance.choice((1, 2, 2, 3)))) for _ in range(8000)]
        self._words = [*SMALL, *vocabulary]
        self._weights = [1 / (rank + 3) for rank in range(len(self._words))]  # Zipf's law
        self._ready: list[str] = []

    def words(self, count: int) -> list[str]:
        if len(self._ready) < count:
            self._ready = self.chance.choices(self._words, self._weights, k=max(count, 10_000))
        taken, self._ready = self._ready[:count], self._ready[count:]
        return taken

    def text(self, words: int) -> str:
        sentences = []
        while words > 0:
            length = self.chance.randint(6, 18)
            sentences.append(" ".join(self.words(min(length, words))).capitalize() + ".")
            words -= length
        return " ".join(sentences)

    def pair(self, *, prompt: int = 18, answer: int = 60) -> Pair:
        """Of about so many words, half as many to half as many again."""

        def text(words: int) -> str:
            return self.text(self.chance.randint(words // 2 + 1, words * 3 // 2 + 1))

        return {"prompt": text(prompt), "chosen": text(answer), "rejected": text(answer)}


def clean(rows: int, seed: int = 1) -> list[Pair]:
    author = Author(seed)
    return [author.pair() for _ in range(rows)]


def write(path: Path, pairs: Iterable[Pair]) -> Path:
    """Canonical JSONL."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(pair, ensure_ascii=False, sort_keys=True) + "\n" for pair in pairs)
    return path


def report_on(folder: Path, pairs: Iterable[Pair], **hyperparameters: Any) -> QualityReport:
    path = write(folder / "pairs.jsonl", pairs)
    return examine(path, hyperparameters=Hyperparameters(**hyperparameters))


def found(report: QualityReport) -> dict[str, Finding]:
    return {finding.code: finding for finding in report.findings}
