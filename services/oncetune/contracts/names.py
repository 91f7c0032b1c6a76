"""Names that strangers write, as they are repeated to people, and what they may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches

from pydantic import BaseModel

_CHARACTERS = 80  # of a name that a sentence repeats


def shown(text: str, characters: int = _CHARACTERS) -> str:
    """The text's beginning, at most so many characters: nothing in it moves a terminal's cursor or ends a line."""
    line = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text[: characters + 1])
    return line if len(line) <= characters else line[: characters - 1] + "…"


def unknown_name(given: Iterable[str], model: type[BaseModel]) -> str | None:
    """On the first name that is no field of `model`: what may be meant, or what is known; None without one."""
    known = list(model.model_fields)
    unknown = next((name for name in given if name not in model.model_fields), None)
    if unknown is None:
        return None
    near = get_close_matches(unknown[:_CHARACTERS], known, 1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    return f"{shown(unknown)} is not known; {hint}"
