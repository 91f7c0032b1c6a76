"""Wait for a condition, never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], *, seconds: float = 10, every: float = 0.02) -> T:
    """The first truthy answer of `condition`; AssertionError after `seconds`. The pause only spares the processor."""
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {condition}, last answer {answer!r}")
        _pause(every)


def _pause(seconds: float) -> None:
    from threading import Event

    Event().wait(seconds)
