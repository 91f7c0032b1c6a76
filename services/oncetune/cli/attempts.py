"""A run's attempts, as its audit trail tells them: who made each, from which step, how far, and why it ended."""

from collections.abc import Mapping, Sequence
from typing import Any

from oncetune.cli.output import columns

_ENDS = {"run.requeued", "run.completed", "run.failed", "run.cancelled"}


def attempts_of(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One object for each attempt, in turn. `ended` is absent while it goes on.

    `from_step` is absent when it began anew, or told of no step.
    What the journal does not hold yet is missing here, too.
    """
    attempts: dict[int, dict[str, Any]] = {}
    for event in events:
        told = event.get("data")
        if not isinstance(told, dict) or not isinstance(number := told.get("attempt"), int):
            continue
        if event.get("type") == "run.started":
            attempts[number] = {"attempt": number, "worker": told.get("worker")}
        elif number in attempts:
            attempts[number] |= _heard(str(event.get("type")), told)
    return list(attempts.values())


def attempt_lines(attempts: Sequence[Mapping[str, Any]]) -> list[str]:
    """`attempt 2  worker-7  from step 40  to step 55/55  completed`."""
    return columns([_words(attempt) for attempt in attempts]) if attempts else []


def _heard(kind: str, told: Mapping[str, Any]) -> dict[str, Any]:
    if kind in _ENDS:
        why = told.get("reason") or told.get("code")
        state = kind.removeprefix("run.")
        return {"ended": state} | ({"why": why} if why else {})
    names = {"step": "step", "steps": "steps", "resumed_from_step": "from_step"}
    return {ours: told[name] for name, ours in names.items() if told.get(name) is not None}


def _words(attempt: Mapping[str, Any]) -> tuple[str, ...]:
    reached = f"to step {attempt['step']}/{attempt.get('steps')}" if "step" in attempt else ""
    anew = "from the beginning" if reached or attempt["attempt"] == 1 else ""  # who told of no step may have gone on
    begun = f"from step {attempt['from_step']}" if "from_step" in attempt else anew
    why = f": {attempt['why']}" if "why" in attempt else ""
    return (
        f"attempt {attempt['attempt']}",
        str(attempt["worker"]),
        begun,
        reached,
        attempt.get("ended", "running") + why,
    )
