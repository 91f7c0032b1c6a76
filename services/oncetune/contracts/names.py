"""Names that callers type, and what they may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches

from pydantic import BaseModel

_CHARACTERS = 120  # of a name that a sentence repeats


def unknown_name(given: Iterable[str], model: type[BaseModel]) -> str | None:
    """On the first name that is no field of `model`: what may be meant, or what is known; None without one."""
    known = list(model.model_fields)
    unknown = next((name for name in given if name not in model.model_fields), None)
    if unknown is None:
        return None
    near = get_close_matches(unknown[:_CHARACTERS], known, 1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    return f"{unknown[:_CHARACTERS]} is not known; {hint}"
