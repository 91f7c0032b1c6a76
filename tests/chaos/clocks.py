"""A process whose clock is wrong, and jumps while it runs: libfaketime, preloaded, reads the offset from a file.

Moved are time(), gettimeofday() and CLOCK_REALTIME, of the process and of the training child that it starts. Not moved
are CLOCK_MONOTONIC, which no administrator can set either, the times of files, and the sidecar: Go asks the kernel.
"""

from dataclasses import dataclass
from pathlib import Path

CACHE_SECONDS = 1  # a new offset is seen after so long
_PLACES = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/local/lib/faketime")


@dataclass(frozen=True)
class Clock:
    """Of one process. `file` holds its offset."""

    file: Path
    library: Path

    def set(self, seconds: float) -> None:
        """So far off from now on, forwards or back; 0 is right again."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+.0f}\n")
        new.rename(self.file)

    @property
    def environment(self) -> dict[str, str]:
        """What its process needs."""
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_CACHE_DURATION": str(CACHE_SECONDS),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


def find_libfaketime() -> Path | None:
    """The library for programs with threads; None when it is not installed (Debian's package faketime has it)."""
    return next((path for place in _PLACES for path in Path("/").glob(f"{place[1:]}/libfaketimeMT.so.1")), None)


def clock(folder: Path, name: str, library: Path) -> Clock:
    """A right one, for now."""
    one = Clock(folder / f"{name}.clock", library)
    one.set(0)
    return one


def sweep_shared_memory() -> None:
    """libfaketime leaves two files behind for each process that was killed."""
    for file in Path("/dev/shm").glob("*faketime_s*_*"):
        if not Path("/proc", file.name.rpartition("_")[2]).exists():
            file.unlink(missing_ok=True)
