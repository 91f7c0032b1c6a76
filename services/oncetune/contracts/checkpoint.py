"""Checkpoints, from the child that writes them to the trainer that trusts them: sealed, or they do not exist.

Where the trainer wants checkpoints it stages FOLDER/checkpoints.json (a CheckpointPlan) for the child. The child
writes each one beside its place, seals it, and renames it to `<place>/<step>/`; it keeps the newest KEPT. A later
attempt of the same run takes over the newest one whose seal is right, and hands its place to its own child.
"""

import hashlib
import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PLAN_NAME = "checkpoints.json"
SEAL_NAME = "seal.json"
KEPT = 2  # of an attempt: the newest, and the one before it should a disk spoil the newest


class Origin(BaseModel):
    """What a checkpoint must have in common with the attempt that goes on from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    dataset_sha256: str
    recipe_sha256: str


class CheckpointPlan(BaseModel):
    """What the trainer tells its child about checkpoints."""

    model_config = ConfigDict(frozen=True)

    origin: Origin
    place: Path  # of this attempt alone
    every_seconds: Annotated[float, Field(ge=0)]  # 0: after every step
    resume_from: Path | None = None  # under `place`, its seal was checked


class Seal(BaseModel):
    """The last file of a checkpoint: without it, or with another content than it names, there is no checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    origin: Origin
    step: Annotated[int, Field(ge=1)]
    steps: Annotated[int, Field(ge=1)]
    made_with: dict[str, str]  # versions of the libraries whose files these are
    files: dict[str, str]  # relative path → SHA-256 (hex)


class BrokenSeal(Exception):
    """The checkpoint is half-written, damaged, or another run's: none of its files may be read."""


def close_with_seal(folder: Path, origin: Origin, *, step: int, steps: int, made_with: dict[str, str]) -> None:
    """Seal the files of `folder` and bring all of it to the disk; to be renamed to its place afterwards."""
    seal = Seal(origin=origin, step=step, steps=steps, made_with=made_with, files=_hashes(folder))
    (folder / SEAL_NAME).write_text(seal.model_dump_json())
    for path in (*folder.rglob("*"), folder):
        sync(path)


def check_seal(folder: Path, origin: Origin) -> Seal:
    """The seal of a whole checkpoint of `origin`. Raises BrokenSeal, or OSError for a disk that cannot be read."""
    seal = read_seal(folder)
    if seal.origin != origin:
        raise BrokenSeal("it belongs to another run or recipe")
    if _hashes(folder) != seal.files:
        raise BrokenSeal("its files are not those that were sealed")
    return seal


def read_seal(folder: Path) -> Seal:
    """What the seal says, unchecked. Raises BrokenSeal."""
    try:
        return Seal.model_validate_json((folder / SEAL_NAME).read_bytes())
    except FileNotFoundError:
        raise BrokenSeal("it has no seal") from None
    except ValidationError:
        raise BrokenSeal("its seal cannot be read") from None


def sealed_steps(place: Path) -> list[int]:
    """The steps of the checkpoints in an attempt's place, newest first; whether each is whole is not known."""
    return sorted((int(path.name) for path in entries(place) if path.name.isdecimal()), reverse=True)


def entries(folder: Path) -> list[Path]:
    """What lies in a folder; nothing when it is none, or was cleared away at this moment by another trainer."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def sync(path: Path) -> None:
    """fsync a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hashes(folder: Path) -> dict[str, str]:
    """Of every regular file but the seal; a link is none."""
    hashes = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path != folder / SEAL_NAME:
            with path.open("rb") as content:
                hashes[path.relative_to(folder).as_posix()] = hashlib.file_digest(content, "sha256").hexdigest()
    return hashes
