"""What `preflight` and `doctor` print: one line for each check, and what to do about those that are not ok."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from oncetune.cli.output import columns


class State(StrEnum):
    """How a check ended. Only FAIL makes the command fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"
    UNKNOWN = "unknown"  # it could not be looked at


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: what was found, and what to do unless it is ok."""

    name: str
    state: State
    words: str
    remedy: str = ""


def ok(name: str, words: str) -> Check:
    """As it should be."""
    return Check(name, State.OK, words)


def warn(name: str, words: str, remedy: str) -> Check:
    """It works, and may not for long or not for everybody."""
    return Check(name, State.WARN, words, remedy)


def fail(name: str, words: str, remedy: str) -> Check:
    """It does not work."""
    return Check(name, State.FAIL, words, remedy)


def unknown(name: str, words: str) -> Check:
    """It could not be looked at; another check or `words` say why."""
    return Check(name, State.UNKNOWN, words)


def passed(checks: Sequence[Check]) -> bool:
    """True when none failed."""
    return all(check.state is not State.FAIL for check in checks)


def table(checks: Sequence[Check]) -> list[str]:
    """The checks as aligned lines, then a numbered list of what to do."""
    lines = columns([("CHECK", "STATE", "FOUND"), *((one.name, one.state.value, one.words) for one in checks)])
    todo = [f"{number}. {one.name}: {one.remedy}" for number, one in enumerate(filter(_open, checks), 1)]
    return [*lines, "", "What to do:", *todo] if todo else lines


def _open(check: Check) -> bool:
    return bool(check.remedy)


def document(checks: Sequence[Check]) -> dict[str, object]:
    """The checks for a machine: `{"ok": …, "checks": [{"name", "state", "words", "remedy"}]}`."""
    return {"ok": passed(checks), "checks": [asdict(check) for check in checks]}


def shown(value: object) -> str:
    """What a server said, on one line and not too long of it."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    flat = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return flat if len(flat) <= 160 else f"{flat[:159]}…"


def fingerprint(secret: str) -> str:
    """The first 8 hex digits of the secret's SHA-256: equal on both sides when the secrets are."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()[:8]
