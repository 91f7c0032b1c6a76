"""Which scripts the rows are written in, by the letters' own Unicode names, and which languages in Latin letters."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from oncetune.contracts.quality import Finding
from oncetune.datasets.quality.languages import language_of
from oncetune.datasets.quality.row import Row
from oncetune.datasets.quality.tally import Numbers, Tally, counted

READ_CHARACTERS = 4096  # of a text; the script does not change its mind later
# The first word of a letter's name, where it is a script; kana beside Han is Japanese.
_SCRIPTS = {"CJK": "han", "HIRAGANA": "kana", "KATAKANA": "kana", "FULLWIDTH": "latin", "HALFWIDTH": "kana"}
_KNOWN = re.compile(
    "latin|greek|cyrillic|armenian|georgian|hebrew|arabic|syriac|thaana|ethiopic|devanagari|bengali|gurmukhi|gujarati|"
    "oriya|tamil|telugu|kannada|malayalam|sinhala|thai|lao|tibetan|myanmar|khmer|mongolian|hangul|cherokee|han|kana"
)
FEWEST_LETTERS = 4  # of a text that has a script: a formula or a number has none
KANA_SHARE = 0.1  # of the letters that makes a text Japanese, most of which may be Han
SIDES_SHARE = 0.05  # of rows whose answers are in two scripts: above it the script tells which one is preferred


class Scripts:
    """Keeps two counts."""

    def __init__(self) -> None:
        self._rows: dict[str, Tally] = {}
        self._languages: dict[str, Tally] = {}
        self._sides = Tally()

    def see(self, row: Row) -> None:
        if row.is_ascii:
            script, chosen, rejected = "latin", "", ""
            if not any(map(str.isalpha, row.chosen[:READ_CHARACTERS])):
                return
        else:
            chosen, rejected = script_of(row.chosen), script_of(row.rejected)
            script = chosen or script_of(row.prompt)
        if language := language_of(row.chosen):
            self._languages.setdefault(language, Tally()).add(row.line, row.chosen)
        if script:
            self._rows.setdefault(script, Tally()).add(row.line, row.chosen)
        if chosen and rejected and chosen != rejected:
            self._sides.add(row.line)

    def findings(self, rows: int) -> Iterator[Finding]:
        ranked = _ranked(self._rows)
        for script in ranked[1:]:
            yield from self._rows[script].finding(
                f"script_{script}",
                "info",
                f"{counted(self._rows[script].count, rows)} are written in {script.capitalize()}, most of the others "
                f"in {ranked[0].capitalize()}: fine for a set of several languages, a mistake otherwise",
            )
        ranked = _ranked(self._languages)
        for language in ranked[1:]:
            yield from self._languages[language].finding(
                f"language_{language}",
                "info",
                f"{counted(self._languages[language].count, rows)} are probably in the language `{language}`, most of "
                f"the others in `{ranked[0]}`: fine for a set of several languages, a mistake otherwise",
            )
        yield from self._sides.finding(
            "answers_in_two_scripts",
            "warning" if self._sides.share(rows) > SIDES_SHARE else "info",
            f"in {counted(self._sides.count, rows)} chosen and rejected are written in two scripts: the model may "
            "learn the script instead of what is better",
        )

    def numbers(self, rows: int) -> Numbers:
        scripts = {f"script_{name}_share": seen.share(rows) for name, seen in sorted(self._rows.items())}
        languages = {f"language_{name}_share": seen.share(rows) for name, seen in sorted(self._languages.items())}
        return {name: round(share, 4) for name, share in (scripts | languages).items()}


def _ranked(rows: dict[str, Tally]) -> list[str]:
    """The names, that of most rows first."""
    return sorted(rows, key=lambda name: (-rows[name].count, name))


def script_of(text: str) -> str:
    """The script of most letters, `other` where it is a rare one; empty for a text of hardly any letters."""
    letters: Counter[str] = Counter()
    for sign, count in Counter(text[:READ_CHARACTERS]).items():
        if script := _script(sign):
            letters[script] += count
    total = letters.total()
    if total < FEWEST_LETTERS:
        return ""
    if letters["kana"] >= KANA_SHARE * total and letters["kana"] + letters["han"] > total / 2:
        return "japanese"
    return max(letters, key=lambda script: (letters[script], script))


@lru_cache(maxsize=8192)
def _script(sign: str) -> str:
    if not sign.isalpha():
        return ""
    word = unicodedata.name(sign, "").partition(" ")[0]
    script = _SCRIPTS.get(word, word.lower())
    return script if _KNOWN.fullmatch(script) else "other"
