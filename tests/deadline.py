"""Wait for a condition, never for a time."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Event, Thread
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
    Event().wait(seconds)


def in_time(call: Callable[[], object], *, seconds: float = 20) -> object:
    """What `call` returns or raises; AssertionError, and a thread left behind, when it hangs."""
    outcome: Future[object] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    Thread(target=run, daemon=True).start()
    eventually(outcome.done, seconds=seconds)
    return outcome.result()
