"""Callers that come whether or not the last one was answered (an open loop), from a process of their own.

Each call has its time before the first is made; its seconds count from that time, however late it could be sent, so
a server that stalls is charged for everybody who waits (no coordinated omission). Raw sockets and requests that are
made beforehand, since the generator shares the machine with what it measures; `sent_late` tells its own share.
"""

import asyncio
import contextlib
import gc
import random
import statistics
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any

CONNECTIONS = 64  # kept open, as a gateway's pool does; whoever finds none free waits, and the wait counts
LAST_ANSWER = 20.0  # seconds after the last call's time
CLAMP = 60.0  # what a call counts that had no answer


@dataclass(frozen=True)
class Offer:
    """What was offered and what came of it; seconds. `sent_late` is this generator's own share."""

    rate: float
    seconds: float
    calls: int
    accepted: int
    achieved: float  # accepted answers a second, until the last one
    p50: float
    p99: float
    worst: float
    sent_late_p99: float
    statuses: dict[int, int]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class _Line(asyncio.Protocol):
    """One kept connection: a request at a time, an answer with Content-Length."""

    transport: asyncio.Transport

    def __init__(self, lines: "_Lines") -> None:
        self._lines = lines
        self._received = b""
        self._call = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, call: int, request: bytes) -> None:
        self._call, self._received = call, b""
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(body) >= int(length):
            call, self._call = self._call, -1  # first: whoever waited for a connection is sent on this one at once
            self._lines.answered(self, call, int(self._received[9:12]))

    def connection_lost(self, _error: Exception | None) -> None:
        self._lines.lost(self, self._call)


class _Lines:
    """The connections, who waits for one, and the seconds of each call."""

    def __init__(self, port: int, requests: Sequence[bytes], times: Sequence[float]) -> None:
        self._port, self._requests, self._times = port, requests, times
        self._idle: deque[_Line] = deque()
        self._waiting: deque[int] = deque()
        self.seconds = [CLAMP] * len(requests)
        self.late = [CLAMP] * len(requests)
        self.status = [0] * len(requests)
        self.open = len(requests)
        self.done = asyncio.Event()
        self.start = 0.0

    async def run(self) -> float:
        """Make every call at its time; how many seconds until the last answer."""
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            _, line = await loop.create_connection(lambda: _Line(self), "127.0.0.1", self._port)
            self._idle.append(line)
        self.start = loop.time() + 0.1
        for call, after in enumerate(self._times):
            loop.call_at(self.start + after, self._due, call)
        with contextlib.suppress(TimeoutError):  # the unanswered ones count CLAMP
            await asyncio.wait_for(self.done.wait(), self._times[-1] + LAST_ANSWER)
        return loop.time() - self.start

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self.start

    def _due(self, call: int) -> None:
        self.late[call] = self._now() - self._times[call]
        if self._idle:
            self._idle.popleft().send(call, self._requests[call])
        else:
            self._waiting.append(call)

    def answered(self, line: _Line, call: int, status: int) -> None:
        self._ended(call, status, self._now() - self._times[call])
        if self._waiting:
            waiting = self._waiting.popleft()
            line.send(waiting, self._requests[waiting])
        else:
            self._idle.append(line)

    def lost(self, line: _Line, call: int) -> None:
        """The server closed it: the call on it has no answer."""
        if line in self._idle:
            self._idle.remove(line)
        if call >= 0:
            self._ended(call, -1, CLAMP)

    def _ended(self, call: int, status: int, seconds: float) -> None:
        self.status[call], self.seconds[call] = status, seconds
        self.open -= 1
        if not self.open:
            self.done.set()


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values are at or below."""
    return sorted(values)[max(0, round(share * len(values)) - 1)]


def arrivals(rate: float, seconds: float, *, seed: int) -> list[float]:
    """Seconds from the start at which callers come who know nothing of one another (a Poisson process)."""
    chance, after, times = random.Random(seed), 0.0, []
    while (after := after + chance.expovariate(rate)) < seconds:
        times.append(after)
    return times


def offer(port: int, requests: Sequence[bytes], times: Sequence[float], rate: float, seconds: float) -> Offer:
    """Make the calls to 127.0.0.1; one that is refused or not answered counts CLAMP seconds."""
    gc.collect()
    gc.disable()

    async def run() -> tuple[_Lines, float]:
        lines = _Lines(port, requests, times)
        return lines, await lines.run()

    lines, took = asyncio.run(run())
    gc.enable()
    counted = [spent if status == 200 else CLAMP for spent, status in zip(lines.seconds, lines.status, strict=True)]
    accepted = lines.status.count(200)
    return Offer(
        rate=rate,
        seconds=seconds,
        calls=len(times),
        accepted=accepted,
        achieved=accepted / took,
        p50=statistics.median(counted),
        p99=quantile(counted, 0.99),
        worst=max(counted),
        sent_late_p99=quantile(lines.late, 0.99),
        statuses={status: lines.status.count(status) for status in set(lines.status)},
    )


def generator() -> AbstractContextManager[ProcessPoolExecutor]:
    """A process that `offer` can be submitted to, so that it shares no interpreter lock with anything."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))
