"""Whose fault it is when a child dies on a full disk."""

import shutil
from contextlib import suppress
from pathlib import Path

from oncetune.artifacts.store import LOG_NAME

_FULL_BELOW = 1024 * 1024  # bytes: a disk that has no more is full


class StagingDisk:
    """Measured as the child of the attempt in `folder` starts. Raises OSError when the disk is away."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._free = shutil.disk_usage(folder).free

    def refused(self) -> bool:
        """Whether the disk is full, and not by the attempt's own files alone.

        On a full disk these are deleted, but for the log: a disk that has half of its room again was filled by them.
        """
        if self._takes_a_file():
            return False
        self._empty()
        try:
            return not self._takes_a_file() or shutil.disk_usage(self._folder.parent).free < self._free // 2
        except OSError:
            return True

    def _takes_a_file(self) -> bool:
        """Asked beside the attempt's folder, with which the child may have done anything."""
        probe = self._folder.with_name("probe")
        try:
            probe.write_bytes(bytes(_FULL_BELOW))
        except OSError:
            return False
        finally:
            with suppress(OSError):
                probe.unlink()
        return True

    def _empty(self) -> None:
        with suppress(OSError):
            for path in self._folder.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                elif path.name != LOG_NAME:
                    path.unlink()
