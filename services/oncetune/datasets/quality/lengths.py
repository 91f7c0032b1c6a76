"""How long the texts are, and whether length tells chosen from rejected."""

import math
import statistics
from array import array
from collections.abc import Iterator

from oncetune.contracts.quality import Finding
from oncetune.datasets.quality.row import FIELDS, Row
from oncetune.datasets.quality.tally import Numbers, Tally, counted

FEWEST_ROWS = 20  # with fewer, fifteen of twenty is what a coin does in one set of fifty
BIASED_SHARE = 0.75  # of the rows in which one of the two is the longer one; published sets have 0.55 to 0.65
BIASED_RATIO = 1.25  # of the median: less is hardly a length that a model could go by
LARGEST_EFFECT = 10.0  # 0.8 is called large; without any spread it would be infinite


class Lengths:
    """Keeps three lengths a row (12 bytes); characters are code points."""

    def __init__(self) -> None:
        self._lengths = {field: array("I") for field in FIELDS}

    def see(self, row: Row) -> None:
        for lengths, text in zip(self._lengths.values(), row.texts, strict=True):
            lengths.append(len(text))

    def findings(self, rows: int) -> Iterator[Finding]:
        chosen, rejected = self._lengths["chosen"], self._lengths["rejected"]
        longer: list[int] = []
        shorter: list[int] = []
        for line, (one, other) in enumerate(zip(chosen, rejected, strict=True), 1):
            if one != other:
                (longer if one > other else shorter).append(line)
        lines, which = (longer, "longer") if len(longer) > len(shorter) else (shorter, "shorter")
        ratio = self._ratio()
        if rows < FEWEST_ROWS or len(lines) < BIASED_SHARE * rows or max(ratio, 1 / ratio) < BIASED_RATIO:
            return
        yield from Tally(lines).finding(
            "length_bias",
            "warning",
            f"in {counted(len(lines), rows)} the chosen answer is the {which} one (median ratio {ratio:.2f}, effect "
            f"size {self._effect():+.2f}): the model may learn the length instead of what is better; balance the "
            "lengths, or take the loss sigmoid_norm, which weighs each token alike",
        )

    def _ratio(self) -> float:
        return math.exp(statistics.median(self._log_ratios()))

    def _effect(self) -> float:
        """Cohen's d of paired values: mean over standard deviation of log(chosen / rejected), capped."""
        ratios = self._log_ratios()
        mean = statistics.fmean(ratios)
        deviation = math.sqrt(statistics.fmean((ratio - mean) ** 2 for ratio in ratios))
        return math.copysign(min(abs(mean) / max(deviation, 1e-9), LARGEST_EFFECT), mean)

    def _log_ratios(self) -> "array[float]":
        chosen, rejected = self._lengths["chosen"], self._lengths["rejected"]
        return array("d", (math.log((1 + one) / (1 + other)) for one, other in zip(chosen, rejected, strict=True)))

    def numbers(self, rows: int) -> Numbers:
        numbers: Numbers = {}
        for field, lengths in self._lengths.items():
            numbers[f"{field}_characters_mean"] = round(statistics.fmean(lengths), 1)
            numbers[f"{field}_characters_median"] = statistics.median(lengths)
            numbers[f"{field}_characters_max"] = max(lengths)
        chosen, rejected = self._lengths["chosen"], self._lengths["rejected"]
        longer = sum(one > other for one, other in zip(chosen, rejected, strict=True))
        return numbers | {
            "chosen_longer_share": round(longer / rows, 4),
            "length_ratio_median": round(self._ratio(), 4),
            "length_effect_size": round(self._effect(), 4),
        }
