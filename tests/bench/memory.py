"""What a process holds in memory, from /proc."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.deadline import eventually
from tests.serving import signed

CHUNK = b"x" * 2**16


def memory(pid: int) -> float:
    """Resident MiB."""
    return _line(pid, "VmRSS")


def most_memory(pid: int) -> float:
    """The most resident MiB that it ever had, or since `peak` began."""
    return _line(pid, "VmHWM")


def _line(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


def settled_memory(pid: int) -> float:
    """Once it has not moved for two seconds."""
    seen: list[float] = []

    def still() -> bool:
        seen.append(memory(pid))
        return len(seen) >= 8 and max(seen[-8:]) - min(seen[-8:]) < 0.25

    eventually(still, seconds=20, every=0.25)
    return seen[-1]


@contextmanager
def peak(pid: int) -> Iterator[Callable[[], float]]:
    """`highest()`: the most resident MiB since the block began."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak is counted from here
    yield lambda: most_memory(pid)


def peak_of_a_large_body(pid: int, url: str) -> float:
    """How many MiB a body of 1 GiB without Content-Length adds at its peak, until it is refused."""
    before = memory(pid)

    def body() -> Iterator[bytes]:
        for _ in range(2**30 // len(CHUNK)):
            yield CHUNK

    with peak(pid) as highest:
        try:
            url = f"{url}/trigger-finetune"
            answer = httpx.post(url, content=body(), headers=signed(), timeout=60, trust_env=False)
            assert answer.status_code == 413, answer.text
        except httpx.WriteError:
            pass  # refused, and closed before we had sent it all
        return highest() - before
