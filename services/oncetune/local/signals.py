"""Ctrl-C and its relatives as a flag: a wait looks at it, no line of code is torn apart by it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """Somebody asked to stop: leave by the ordinary way out, which ends every program."""


class Signals:
    """How often this process was asked to stop. Counting is all that the handler does, so it can interrupt anything."""

    def __init__(self) -> None:
        self._count = 0

    def check(self) -> None:
        """Raise Interrupted once a signal came; call it in every loop that waits."""
        if self._count:
            raise Interrupted

    @property
    def asked(self) -> bool:
        """Somebody wants an end."""
        return self._count > 0

    @property
    def forced(self) -> bool:
        """Somebody asked a second time and does not want to wait for a clean end."""
        return self._count > 1

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Count SIGINT, SIGTERM and SIGHUP while inside. Main thread only."""
        wanted = [number for number in _HEARD if signal.getsignal(number) != signal.SIG_IGN]  # `nohup` means it
        before = {number: signal.signal(number, self._count_one) for number in wanted}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _count_one(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
