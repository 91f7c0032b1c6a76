"""Which rows training leaves out, and whether it may leave out so many: those with equal answers, those too long.

A row that is both counts as equal, in training as here. Equal is sure; how long a row is, only the base model's
tokenizer knows: sure is what has more words than the limit has tokens, the others are estimated.
"""

from collections.abc import Iterator

from oncetune.contracts.quality import Finding
from oncetune.contracts.recipe import Hyperparameters
from oncetune.datasets.enough_rows import TOO_MANY
from oncetune.datasets.quality.row import Row
from oncetune.datasets.quality.tally import Numbers, Tally, counted

# There is no tokenizer here. With SmolLM2's, a token is 4.1 characters of English and 3.6 of Python, but 2 to 3 of
# other languages in Latin letters, so those are estimated too short; 1.2 of Russian, 0.5 of Chinese (1 and more where
# the vocabulary is a large one).
ASCII_CHARACTERS_PER_TOKEN = 4.0
OTHER_CHARACTERS_PER_TOKEN = 1.0
NOTICED_SHARE = 0.01  # of rows over the limit: below it nobody misses them


class LeftOut:
    """Keeps counts; characters are code points."""

    def __init__(self, hyperparameters: Hyperparameters) -> None:
        self._asked = hyperparameters
        self._equal, self._over, self._surely_over, self._surely = Tally(), Tally(), Tally(), Tally()
        self._beyond = self._tokens = 0.0

    def see(self, row: Row) -> None:
        limit = self._asked.max_length
        estimate = _tokens(row.prompt) + max(_tokens(row.chosen), _tokens(row.rejected))
        self._tokens += estimate
        self._beyond += max(0.0, estimate - limit)
        if row.has_equal_answers:
            self._equal.add(row.line)
            self._surely.add(row.line)
            return
        # No usual tokenizer makes one token of two words, and a word and its space are two characters at least.
        longest = len(row.prompt) + max(len(row.chosen), len(row.rejected))
        if longest >= 2 * limit and _words(row) > limit:
            self._surely_over.add(row.line)
            self._surely.add(row.line)
            self._over.add(row.line)
        elif estimate > limit:
            self._over.add(row.line)

    def findings(self, rows: int) -> Iterator[Finding]:
        limit = self._asked.max_length
        equal, surely, over = self._equal.count, self._surely_over.count, self._over.count
        if not self._asked.may_leave_out(equal + surely, rows):
            # Where equal answers alone are too many, the run fails for these, and these are the rows to change.
            too_many = self._surely if self._asked.may_leave_out(equal, rows) else self._equal
            long = f", {surely:,} with more words than max_length ({limit} tokens) allows"
            yield from too_many.finding(
                TOO_MANY,
                "error",
                f"training leaves out {counted(too_many.count, rows)}: {equal:,} with the same answer twice"
                f"{long if too_many is self._surely else ''}. It may leave out {self._asked.most_left_out} at most "
                "(max_dropped_share), so the run fails: change these rows, or raise max_length or the share",
            )
        fails = "" if self._asked.may_leave_out(equal + over, rows) else ", and with so many left out the run fails"
        yield from self._over.finding(
            "rows_over_max_length",
            "warning" if self._over.share(rows) > NOTICED_SHARE else "info",
            f"{counted(over, rows)} are probably longer than max_length ({limit} tokens), {surely:,} of them surely; "
            f"training leaves out what is{fails}. An estimate: {ASCII_CHARACTERS_PER_TOKEN:g} characters a token, "
            f"{OTHER_CHARACTERS_PER_TOKEN:g} outside ASCII; sure is what has more words than that",
        )

    def numbers(self, rows: int) -> Numbers:
        return {
            "equal_answers_rows": self._equal.count,
            "surely_over_max_length_rows": self._surely_over.count,
            "over_max_length_rows": self._over.count,
            "over_max_length_share": round(self._over.share(rows), 4),
            "surely_over_max_length_share": round(self._surely_over.share(rows), 4),
            "tokens_beyond_max_length_share": round(self._beyond / self._tokens, 4) if self._tokens else 0.0,
        }


def _tokens(text: str) -> float:
    """An estimate; ASCII_CHARACTERS_PER_TOKEN says how good."""
    if text.isascii():
        return len(text) / ASCII_CHARACTERS_PER_TOKEN
    plain = len(text.encode("ascii", "ignore"))
    return plain / ASCII_CHARACTERS_PER_TOKEN + (len(text) - plain) / OTHER_CHARACTERS_PER_TOKEN


def _words(row: Row) -> int:
    return len(row.prompt.split()) + max(len(row.chosen.split()), len(row.rejected.split()))
