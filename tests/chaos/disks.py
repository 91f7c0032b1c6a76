"""A disk of a folder's own that can be full: a tmpfs, which is shrunk to what it holds and grown again."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TRIES = 50


@dataclass(frozen=True)
class Disk:
    """What lies at `place`. It takes memory only for what is on it."""

    place: Path
    megabytes: int

    @contextmanager
    def full(self) -> Iterator[None]:
        """Hardly a page is left while inside, but for what somebody deletes."""
        try:
            self._shrink()
            yield
        finally:
            self._resize(self.megabytes * 1024 * 1024)

    def _shrink(self) -> None:
        for last in (False,) * _TRIES + (True,):  # somebody may have written in between
            room = os.statvfs(self.place)
            try:
                self._resize(max(1, room.f_blocks - room.f_bfree) * room.f_frsize)  # 0 would be no limit, for good
                return
            except subprocess.CalledProcessError:
                if last:
                    raise

    def _resize(self, size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.place)], check=True, capture_output=True)


@contextmanager
def disk(place: Path, *, megabytes: int, owner: str | None = None) -> Iterator[Disk]:
    """Mounted there while inside; those whose owner was killed go first. Nobody may use it any more at the end.

    Needs CAP_SYS_ADMIN. `owner` is an account, to whom alone it belongs.
    """
    _sweep()
    access = [f"uid={owner}", f"gid={owner}", "mode=700"] if owner else ["mode=755"]
    options = ",".join((f"size={megabytes}m", *access))
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, f"chaos-{os.getpid()}", str(place)], check=True)
    try:
        yield Disk(place, megabytes)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _sweep() -> None:
    for line in Path("/proc/mounts").read_text().splitlines():
        source, place, kind, *_ = line.split()
        owner = source.removeprefix("chaos-")
        if kind == "tmpfs" and owner != source and owner.isdigit() and not Path("/proc", owner).exists():
            subprocess.run(["umount", "--lazy", place], check=False)
