"""Whether the form of an answer tells chosen from rejected: lists, bold, an emoji, a refusal, an opening."""

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator

from oncetune.contracts.quality import Finding
from oncetune.datasets.quality.row import Row, digest
from oncetune.datasets.quality.tally import Numbers, Tally, counted

FEWEST_ROWS = 20  # as for the lengths: with fewer, a habit and an accident look the same
BIASED_SHARE = 0.25  # of the rows with the form on that side alone, less those with it on the other side alone
STRONG_SHARE = 0.6  # then a model that looks at nothing else is right more often than not
ONE_SIDED = 0.8  # of the rows with the form on one side only, how many have it on the same side
OPENING_WORDS = 3
OPENING_CHARACTERS = 64
OPENING_SHARE = 0.1  # of the answers of one side that begin with these words …
OPENING_ELSEWHERE = 0.1  # … and at most this part of it on the other side

_LIST = re.compile(r"^[ \t]{0,8}(?:[-*+•]|\d{1,3}[.)])[ \t]+\S", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} \S", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^\s*][^*\n]*\*\*")  # not `__`: that is Python's
_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf\u2b50\u2b55]")
# In English only: what assistants say when they decline, at the beginning of an answer.
_REFUSAL = re.compile(
    r"\s*(?:(?:I['’]m|I am|we['’]re) (?:very |really |so )?(?:sorry|afraid|unable|not able)\b|sorry\b|"
    r"(?:unfortunately,? )?I (?:apologi[sz]e|can['’]?t|can ?not|won['’]t|will not|must decline)\b|as an AI\b)",
    re.IGNORECASE,
)

FORMS: dict[str, Callable[[str], bool]] = {
    "list": lambda text: _LIST.search(text) is not None,
    "heading": lambda text: "# " in text and _HEADING.search(text) is not None,
    "code_fence": lambda text: "```" in text,
    "bold": lambda text: "**" in text and _BOLD.search(text) is not None,
    "emoji": lambda text: not text.isascii() and _EMOJI.search(text) is not None,
    "exclamation": lambda text: "!" in text,
    "link": lambda text: "https://" in text or "http://" in text,
    "refusal": lambda text: _REFUSAL.match(text) is not None,
}
NAMES = {
    "list": "a list",
    "heading": "a heading",
    "code_fence": "a code fence",
    "bold": "bold text",
    "emoji": "an emoji",
    "exclamation": "an exclamation mark",
    "link": "a link",
    "refusal": "a refusal",
}


class _Form:
    """How often one form is on each side, and on that side alone."""

    def __init__(self) -> None:
        self.chosen = self.rejected = 0
        self.chosen_alone, self.rejected_alone = Tally(), Tally()

    def see(self, row: Row, chosen: bool, rejected: bool) -> None:
        self.chosen += chosen
        self.rejected += rejected
        if chosen and not rejected:
            self.chosen_alone.add(row.line, row.chosen)
        if rejected and not chosen:
            self.rejected_alone.add(row.line, row.rejected)


class Formats:
    """Keeps counts, and 16 bytes a row for the openings."""

    def __init__(self) -> None:
        self._forms = {name: _Form() for name in FORMS}
        self._openings = array("Q"), array("Q")

    def see(self, row: Row) -> None:
        for name, has in FORMS.items():
            chosen, rejected = has(row.chosen), has(row.rejected)
            if chosen or rejected:
                self._forms[name].see(row, chosen, rejected)
        for openings, text in zip(self._openings, (row.chosen, row.rejected), strict=True):
            openings.append(digest(_opening(text)))

    def findings(self, rows: int) -> Iterator[Finding]:
        if rows < FEWEST_ROWS:
            return
        for name, form in self._forms.items():
            yield from self._bias(name, form, rows)
        for side in (0, 1):
            yield from self._opening_bias(side, rows)

    def _bias(self, name: str, form: _Form, rows: int) -> Iterator[Finding]:
        more, less, side = form.chosen_alone, form.rejected_alone, "chosen"
        if more.count < less.count:
            more, less, side = less, more, "rejected"
        lead = more.count - less.count
        if lead < BIASED_SHARE * rows or more.count < ONE_SIDED * (more.count + less.count):
            return
        yield from more.finding(
            f"format_bias_{name}",
            "warning" if lead >= STRONG_SHARE * rows else "info",
            f"{counted(more.count, rows)} have {NAMES[name]} in the {side} answer alone, {less.count:,} in the other "
            "alone: the model will learn that form; fine if it is what is wanted",
        )

    def _opening_bias(self, side: int, rows: int) -> Iterator[Finding]:
        counts, elsewhere = Counter(self._openings[side]), Counter(self._openings[1 - side])
        own = {
            opening
            for opening, count in counts.items()
            if count >= OPENING_SHARE * rows and elsewhere[opening] <= OPENING_ELSEWHERE * count
        }
        name = ("chosen", "rejected")[side]
        yield from Tally(line for line, opening in enumerate(self._openings[side], 1) if opening in own).finding(
            f"opening_bias_{name}",
            "info",
            f"{counted(sum(counts[opening] for opening in own), rows)} begin the {name} answer with words that "
            f"hardly any of the other answers begins with (openings of {OPENING_WORDS} words: {len(own)}): the model "
            "will learn them; fine if they are what is wanted",
        )

    def numbers(self, rows: int) -> Numbers:
        numbers: Numbers = {}
        for name, form in self._forms.items():
            numbers[f"chosen_{name}_share"] = round(form.chosen / rows, 4)
            numbers[f"rejected_{name}_share"] = round(form.rejected / rows, 4)
        return numbers


def _opening(text: str) -> str:
    return " ".join(text.lstrip()[:OPENING_CHARACTERS].casefold().split()[:OPENING_WORDS])
