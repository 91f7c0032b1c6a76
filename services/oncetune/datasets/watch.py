"""The time that a fetch has, and the wish to end it."""

import time
from collections.abc import Callable
from datetime import timedelta

from oncetune.datasets.refusal import DatasetRefused

LOOK_EVERY = 0.25  # seconds: how late a wish to stop may be seen


class FetchStopped(Exception):
    """`stop()` said so: nothing was kept, and nothing is known against the dataset."""


class FetchFailed(DatasetRefused):
    """Nothing forbids this dataset, but it did not arrive within the deadline: another try, later, may succeed."""


class Watch:
    """One deadline over all that a fetch does. `stop` is asked often and must be quick."""

    def __init__(self, deadline: timedelta, stop: Callable[[], bool]) -> None:
        self._deadline, self._stop = deadline, stop
        self._end = time.monotonic() + deadline.total_seconds()

    @property
    def left(self) -> float:
        """Seconds, below zero when the time is over."""
        return self._end - time.monotonic()

    def step(self) -> float:
        """Seconds until this wants to be called again. Raises FetchStopped, and FetchFailed when the time is over."""
        if self._stop():
            raise FetchStopped("the fetch was asked to stop")
        left = self.left
        if left <= 0:
            seconds = f"{self._deadline.total_seconds():g}"
            raise FetchFailed("fetch_too_slow", f"The dataset did not arrive whole within {seconds} s")
        return min(left, LOOK_EVERY)

    def pause(self, seconds: float) -> None:
        """Raises what `step` raises."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, self.step()))
