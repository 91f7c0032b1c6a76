"""Results in a folder: `<root>/<run>/<attempt>/`, written beside its place and moved there whole."""

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from oncetune.artifacts.store import ADAPTER, LOG_NAME, Files, Published, measure_all, published
from oncetune.contracts.checkpoint import sync

_LONGEST_NAME = 1000  # bytes, folders included: there is room for it under any root


class BrokenAdapter(Exception):
    """What the child left can be stored on no disk; says why."""


def files_below(folder: Path) -> dict[str, Path]:
    """The regular files of a folder by their path in it, sorted; a link is none, wherever it leads."""
    paths = [] if folder.is_symlink() else sorted(folder.rglob("*"))
    return {path.relative_to(folder).as_posix(): path for path in paths if stat.S_ISREG(path.lstat().st_mode)}


def check_adapter(adapter: Path) -> None:
    """Raises BrokenAdapter for anything but a folder of files that can be read: a link may lead out of it, or nowhere.

    What passes is refused by a store only for the sake of its own disk.
    """
    try:
        paths = list(adapter.rglob("*"))
        if adapter.is_symlink() or not paths:
            raise BrokenAdapter("there is none")
        for path in paths:
            _check_entry(path, path.relative_to(adapter).as_posix())
    except OSError as error:
        raise BrokenAdapter(error.strerror or type(error).__name__) from error


def _check_entry(path: Path, name: str) -> None:
    if not name.isprintable() or len(name.encode()) > _LONGEST_NAME:
        raise BrokenAdapter(f"{name[:100]!a} is no name that can be kept")
    mode = path.lstat().st_mode
    if stat.S_ISREG(mode):
        path.open("rb").close()
    elif stat.S_ISDIR(mode):
        list(path.iterdir())
    else:
        raise BrokenAdapter(f"{name[:100]!a} is neither a file nor a folder")


@dataclass(frozen=True)
class FolderStore:
    """A `ResultStore` in a folder that all trainers, and status, share."""

    root: Path

    def publish(self, run_id: UUID, attempt: int, files: Mapping[str, Path]) -> Published:
        """See `ResultStore`."""
        place = self._place(run_id, attempt)
        arriving = place.with_name(f"{attempt}.arriving")
        shutil.rmtree(arriving, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)
        try:
            for name, path in files.items():
                (arriving / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, arriving / name)
            for path in (*arriving.rglob("*"), arriving):
                sync(path)
        except OSError:
            shutil.rmtree(arriving, ignore_errors=True)  # of a full disk, say: it is not ours to fill
            raise
        arriving.rename(place)
        for folder in (place.parent, self.root):  # the names of both may be new
            sync(folder)
        return published((place / ADAPTER).resolve().as_uri(), measure_all(files), measure_all(files_below(place)))

    def keep_log(self, run_id: UUID, attempt: int, log_file: Path) -> Files:
        """See `ResultStore`."""
        place = self._place(run_id, attempt)
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log_file, place / LOG_NAME)
        return measure_all({LOG_NAME: place / LOG_NAME})

    def discard(self, run_id: UUID, attempt: int) -> None:
        """See `ResultStore`."""
        place = self._place(run_id, attempt)
        shutil.rmtree(place.with_name(f"{attempt}.arriving"), ignore_errors=True)
        shutil.rmtree(place / ADAPTER, ignore_errors=True)
        for name in files_below(place):
            if name != LOG_NAME:
                (place / name).unlink(missing_ok=True)

    def remove(self, run_id: UUID) -> None:
        """See `ResultStore`. A run's checkpoints lie there, too, unless a setting says otherwise."""
        shutil.rmtree(f"{self.root}/{run_id}", ignore_errors=True)

    def places(self) -> Iterator[tuple[UUID, set[int]]]:
        """See `ResultStore`. There may be millions: of each the names alone are looked at."""
        if not self.root.exists():
            return
        with os.scandir(self.root) as runs:
            for run in runs:
                with suppress(ValueError):  # a folder of somebody else's
                    run_id = UUID(run.name)
                    yield run_id, _attempts_with_more_than_a_log(run.path)

    def file(self, run_id: UUID, attempt: int, name: str) -> Path | None:
        """The path of a stored file; None when there is none, or a link leads to it or out of it."""
        path = self.root.resolve() / str(run_id) / str(attempt) / name
        try:
            return path if path.resolve(strict=True) == path and stat.S_ISREG(path.lstat().st_mode) else None
        except OSError:
            return None

    def _place(self, run_id: UUID, attempt: int) -> Path:
        return self.root / str(run_id) / str(attempt)


def _attempts_with_more_than_a_log(run: str) -> set[int]:
    """Without a Path: each interns its parts, and over many runs the interpreter's table of those grows by MBs."""
    found = set()
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(run) as places:
        for place in places:
            number = place.name.removesuffix(".arriving")
            with suppress(ValueError):  # the checkpoints
                attempt = int(number)
                if number != place.name or _more_than_a_log(place.path):
                    found.add(attempt)
    return found


def _more_than_a_log(place: str) -> bool:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(place) as entries:
        return any(entry.name != LOG_NAME for entry in entries)
    return False
