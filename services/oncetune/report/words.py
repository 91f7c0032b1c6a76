"""Numbers as a person reads them, each with its unit, a dash for what was not measured; and texts of strangers, cut."""

import math
import re
from datetime import datetime
from typing import Any

NOT_MEASURED = "–"
_FORMATS = {
    "text": "prompt, chosen and rejected as texts",
    "messages": "prompt, chosen and rejected, also as lists of messages",
    "openai": "rows of OpenAI's preference fine-tuning",
    "shared_prefix": "what chosen and rejected begin with is the prompt",
    "mixed": "rows of several formats",
}
_MINUS = "\u2212"  # as wide as a plus sign
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORT_EXPONENT = re.compile(r"e(-?)0*")


def number(value: float | None, digits: int = 3) -> str:
    """With thousands separators, to so many significant digits below 1,000; `1.5e-05` below a thousandth."""
    if value is None or not math.isfinite(value):
        return NOT_MEASURED
    if value == int(value) and abs(value) < 1e15:
        said = f"{int(value):,}"
    elif abs(value) >= 1000:
        said = f"{value:,.0f}"
    elif abs(value) < 1e-3:
        said = _SHORT_EXPONENT.sub(r"e\1", f"{value:.{digits - 1}e}")
    else:
        said = f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"
    return said.replace("-", _MINUS, 1) if value < 0 else said


def tick(value: float) -> str:
    """A number beside an axis: no more digits than it has, and short enough for the room beside it (seven signs)."""
    if 0 < abs(value) < 1e-2:
        digits, _, exponent = f"{value:.2e}".partition("e")
        said = f"{float(digits):g}e{int(exponent)}"
    else:
        said = f"{value:,.5g}" if abs(value) < 1e5 else f"{value:,.0f}"
    return said.replace("-", _MINUS, 1) if value < 0 else said


def change(value: float | None) -> str:
    """A difference, with its sign."""
    said = number(value)
    return f"+{said}" if value is not None and value > 0 else said


def percent(share: float | None) -> str:
    return NOT_MEASURED if share is None else f"{100 * share:.3g}\u202f%"


def duration(seconds: float | None) -> str:
    """`0.42 s`, `12.3 s`, `4 min 05 s`, `3 h 20 min`."""
    if seconds is None:
        return NOT_MEASURED
    if seconds < 60:
        return f"{seconds:.{1 if seconds >= 1 else 2}f}\u202fs"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}\u202fmin {rest:02}\u202fs"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,}\u202fh {minutes:02}\u202fmin"


def size(count: int) -> str:
    """Bytes in powers of 1,024."""
    if count < 1024:
        return f"{count}\u202fB"
    scaled = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        scaled /= 1024
        if scaled < 1024 or unit == "GiB":
            break
    return f"{number(scaled)}\u202f{unit}"


def moment(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """`1 row`, `2,000 rows`; `nouns` where more of them are not spelled with an s."""
    return f"{number(count)} {noun}" if count == 1 else f"{number(count)} {nouns or noun + 's'}"


def rows_format(name: str) -> str:
    """What a dataset's format means; the name itself where a later version made it."""
    return _FORMATS.get(name, name)


def setting(value: Any) -> str:
    """A setting as it would be typed."""
    if isinstance(value, list | tuple):
        return ", ".join(map(setting, value))
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def cut(text: str, longest: int) -> str:
    """At most so many characters of it and how many are missing; control and direction characters become U+FFFD."""
    kept = _CONTROLS.sub("\ufffd", text[:longest])
    return kept if len(text) <= longest else f"{kept} … ({len(text) - longest:,} more characters in report.json)"
