"""Texts that were read in the wrong encoding, or escaped once too often."""

import re
from collections.abc import Callable, Iterator
from itertools import islice

from oncetune.contracts.quality import Finding, Level
from oncetune.datasets.quality.row import Row
from oncetune.datasets.quality.tally import Numbers, Tally, counted

ENTITIES_SHARE = 0.05  # above it the texts were cut out of web pages; below, they may well speak of HTML
BY_RIGHT_READ = 100  # places that look like it in a text; where all of these are by right, so are the others
BEFORE = 20  # characters that an example shows before what was found

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_HIDDEN = re.compile(r"[\u200b\u2060\u202a-\u202e\u2066-\u2069\ufeff]")  # not the joiners of emoji and of Persian
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#39|#x27|#34);")
# Letter and mark as two signs where one would say it (NFD): from some file systems and PDFs.
_DECOMPOSED = re.compile(
    r"[A-Za-z][\u0300-\u0304\u0306-\u0308\u030a-\u030c\u0323\u0327\u0328]|[\u3046-\u30fd][\u3099\u309a]"
)
_COMPOSED = re.compile(r"[\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u017f\u1ea0-\u1ef9\u3050\u30ac-\u30dd]")
# `\n` written out before a sentence, a list or another one; in code and in paths a small letter or a quote follows.
_ESCAPED = re.compile(r"\\n(?:\\n|[A-Z0-9#*•-])")

# UTF-8 read as Windows-1252 (or Latin-1 where that has no sign): the leading byte of two, three or four as a sign, then
# the others, each as the sign of one of the bytes 80 to BF. `Ã¤` was ä, `â€™` an apostrophe, `ðŸ˜€` an emoji.
_TAIL = "\x80-\xbf" + "".join(bytes([code]).decode("cp1252", "ignore") for code in range(0x80, 0xA0))
_MOJIBAKE = re.compile(f"[\xc2-\xdf][{_TAIL}]|[\xe0-\xef][{_TAIL}]{{2}}|[\xf0-\xf4][{_TAIL}]{{3}}")
# What people do write that looks like it: an accented letter before a quotation mark, a dash, a space that does not
# break (`café »`). Â and Ã before one are mojibake all the same, unless they end a word in capitals (`MANHÃ…`).
_BY_RIGHT = re.compile("[\xc0-\xff][\xa0\xab\xbb\xb0\xb4\xb7\u2013\u2014\u2018-\u201e\u2026\u2022\u2122\xae]+")


def _mojibake(text: str) -> int | None:
    for found in islice(_MOJIBAKE.finditer(text), BY_RIGHT_READ):
        start = found.start()
        in_capitals = text[max(0, start - 1) : start].isupper()
        if not _BY_RIGHT.fullmatch(found.group()) or (found.group()[0] in "ÂÃ" and not in_capitals):
            return start
    return None


def _escaped(text: str) -> int | None:
    found = _ESCAPED.search(text)
    return found.start() if found and "\n" not in text else None


def _place(pattern: re.Pattern[str]) -> Callable[[str], int | None]:
    def place(text: str) -> int | None:
        found = pattern.search(text)
        return found.start() if found else None

    return place


def _replaced(text: str) -> int | None:
    return place if (place := text.find("\ufffd")) >= 0 else None


# Of each: what may be in an ASCII text, and what cannot.
IN_ASCII = {"control_characters": _place(_CONTROL), "html_entities": _place(_ENTITY), "escaped_newlines": _escaped}
BEYOND_ASCII = {
    "mojibake": _mojibake,
    "replacement_characters": _replaced,
    "hidden_characters": _place(_HIDDEN),
    "decomposed": _place(_DECOMPOSED),
    "composed": _place(_COMPOSED),
}

# Of each that is a finding by itself: how grave it is, and what the rows hold.
SAID: dict[str, tuple[Level, str]] = {
    "mojibake": (
        "warning",
        (
            "UTF-8 that was read as Latin-1 or Windows-1252, so that accented letters became two signs: read the "
            "source as UTF-8"
        ),
    ),
    "replacement_characters": (
        "warning",
        (
            "U+FFFD, the sign for bytes that could not be read: the text is lost there; read the source in its own "
            "encoding"
        ),
    ),
    "control_characters": ("warning", "control characters (of a terminal or a file format): remove them"),
    "hidden_characters": (
        "info",
        (
            "zero-width or direction characters: nobody sees them, the tokenizer does; right in a text that mixes "
            "directions"
        ),
    ),
    "html_entities": (
        "info",
        "HTML entities such as an escaped ampersand: unescape them, unless the text is about HTML",
    ),
    "escaped_newlines": ("warning", "a backslash and an n where a line should end: it was escaped twice"),
}


class Encodings:
    """Keeps counts."""

    def __init__(self) -> None:
        self._seen = {name: Tally() for name in (*IN_ASCII, *BEYOND_ASCII)}

    def see(self, row: Row) -> None:
        for text in row.texts:
            for name, place in IN_ASCII.items():
                self._look(name, place, row.line, text)
            if not text.isascii():
                for name, place in BEYOND_ASCII.items():
                    self._look(name, place, row.line, text)

    def _look(self, name: str, place: Callable[[str], int | None], line: int, text: str) -> None:
        if (found := place(text)) is not None:
            self._seen[name].add(line, text[max(0, found - BEFORE) : found + 200])

    def findings(self, rows: int) -> Iterator[Finding]:
        for name, (level, sentence) in SAID.items():
            seen = self._seen[name]
            of_web_pages = name == "html_entities" and seen.share(rows) > ENTITIES_SHARE
            message = f"{counted(seen.count, rows)} hold {sentence}"
            yield from seen.finding(name, "warning" if of_web_pages else level, message)
        if composed := self._seen["composed"].count:
            yield from self._seen["decomposed"].finding(
                "mixed_unicode_forms",
                "info",
                f"{counted(self._seen['decomposed'].count, rows)} hold accented letters as two signs (NFD) and "
                f"{composed:,} as one (NFC): other tokens for the same text; normalise to NFC",
            )

    def numbers(self, _rows: int) -> Numbers:
        return {}
