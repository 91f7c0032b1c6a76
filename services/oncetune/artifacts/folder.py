"""Artifacts in a folder: `<root>/<run>/<attempt>/adapter/`, written beside its place and moved there whole."""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from oncetune.contracts.checkpoint import sync

_LONGEST_NAME = 1000  # bytes, folders included: there is room for it under any root


class BrokenAdapter(Exception):
    """What the child left can be stored on no disk; says why."""


@dataclass(frozen=True)
class Published:
    """An adapter in its place; `sha256` is the folder's hash."""

    uri: str
    sha256: str


def folder_sha256(folder: Path) -> str:
    """SHA-256 over the lines `<file's sha256>  <relative path>`, sorted by path: what `sha256sum` prints, hashed again.

    In the folder: `find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum`.
    """
    lines = []
    for path in sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()):
        with (folder / path).open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        lines.append(f"{digest}  {path}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_adapter(adapter: Path) -> None:
    """Raises BrokenAdapter for anything but a folder of files that can be read: a link may lead out of it, or nowhere.

    What passes is refused by `publish_adapter` only for the sake of the root's disk.
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


def publish_adapter(root: Path, run_id: UUID, attempt: int, adapter: Path) -> Published:
    """Copy a finished adapter under its attempt, durably; raises OSError when the disk refuses.

    Nobody sees it until `finish_run` records its place. A repeat for the same attempt replaces the copy.
    """
    place = root / str(run_id) / str(attempt)
    arriving = place.with_name(f"{attempt}.arriving")
    shutil.rmtree(arriving, ignore_errors=True)
    shutil.rmtree(place, ignore_errors=True)
    try:
        shutil.copytree(adapter, arriving / "adapter")
        for path in (*arriving.rglob("*"), arriving):
            sync(path)
    except OSError:
        shutil.rmtree(arriving, ignore_errors=True)  # of a full disk, say: it is not ours to fill
        raise
    arriving.rename(place)
    for folder in (place.parent, root):  # the names of both may be new
        sync(folder)
    final = place / "adapter"
    return Published(final.resolve().as_uri(), folder_sha256(final))


def discard(root: Path, run_id: UUID, attempt: int) -> None:
    """Take away the adapter of an attempt that the ledger does not point at; the attempt's log stays."""
    place = root / str(run_id) / str(attempt)
    shutil.rmtree(place.with_name(f"{attempt}.arriving"), ignore_errors=True)
    shutil.rmtree(place / "adapter", ignore_errors=True)


def runs_with_artifacts(root: Path) -> Iterator[UUID]:
    """Every run that has anything in `root`, one at a time: there may be millions. OSError while the disk refuses."""
    if not root.exists():
        return
    with os.scandir(root) as places:
        for place in places:
            with suppress(ValueError):  # a folder of somebody else's
                yield UUID(place.name)


def attempts_with_adapters(root: Path, run_id: UUID) -> set[int]:
    """The attempts of a run that have an adapter, whole or on its way, in its place.

    Without a Path: each interns its parts, and over many runs the interpreter's table of those grows by megabytes.
    """
    found = set()
    with suppress(FileNotFoundError), os.scandir(f"{root}/{run_id}") as places:
        for place in places:
            number = place.name.removesuffix(".arriving")
            if number != place.name or os.path.exists(f"{place.path}/adapter"):  # noqa: PTH110
                with suppress(ValueError):  # the checkpoints
                    found.add(int(number))
    return found


def keep_log(root: Path, run_id: UUID, attempt: int, log_file: Path) -> None:
    """Keep the training log of an attempt, whatever became of it."""
    place = root / str(run_id) / str(attempt)
    place.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(log_file, place / log_file.name)
