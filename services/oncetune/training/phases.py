"""How long each part of an attempt takes; a part that is done within another one is not counted twice."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from oncetune.contracts.training_record import Phase


class Phases:
    """A stopwatch of one thread: while an inner phase is timed, the outer one rests."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Everything in this block is `name`; times of the same name add up."""
        self._charge()
        self._running.append(name)
        try:
            yield
        finally:
            self._charge()
            self._running.pop()

    def seconds(self, name: str) -> float:
        """Until now."""
        self._charge()
        return self._seconds.get(name, 0.0)

    def told(self) -> tuple[Phase, ...]:
        """All of them, in the order in which they first began."""
        self._charge()
        return tuple(Phase(name=name, seconds=round(seconds, 3)) for name, seconds in self._seconds.items())

    def _charge(self) -> None:
        now = time.monotonic()
        if self._running:
            running = self._running[-1]
            self._seconds[running] = self._seconds.get(running, 0.0) + now - self._since
        self._since = now
