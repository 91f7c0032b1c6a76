"""What a store of results does, and which one an address means: a folder's path, or `s3://bucket/prefix`."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol
from uuid import UUID

_S3 = "s3://"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")

ADAPTER = "adapter/"
ARCHIVE_NAME, LOG_NAME = "adapter.tar", "training.log"


@dataclass(frozen=True)
class StoredFile:
    """One file as it lies in its place; `sha256` is hex."""

    bytes: int
    sha256: str


Files = Mapping[str, StoredFile]  # by name, relative to the attempt's place, "/" between folders


@dataclass(frozen=True)
class Published:
    """A result in its place: the adapter's address, the hash of its folder, and what can be downloaded."""

    uri: str
    adapter_sha256: str
    files: Files


class NotStored(OSError):
    """The store is away, full, denies it or gave back other bytes: treated like a disk that refuses. Says why."""


class ResultStore(Protocol):
    """Any number of trainers use one at once; each of its calls may raise OSError, and may then be repeated."""

    def publish(self, run_id: UUID, attempt: int, files: Mapping[str, Path]) -> Published:
        """Copy these files (by name) to the attempt's place, durably; a repeat replaces whatever lies there.

        Nobody sees them until `finish_run` records them. What was stored is read again: it has the hashes that are
        returned.
        """
        ...

    def keep_log(self, run_id: UUID, attempt: int, log_file: Path) -> Files:
        """Keep the training log of an attempt without a result, beside whatever lies there."""
        ...

    def discard(self, run_id: UUID, attempt: int) -> None:
        """Take away the result of an attempt that the ledger does not point at; its log stays."""
        ...

    def remove(self, run_id: UUID) -> None:
        """Take away everything that a run has in the store."""
        ...

    def places(self) -> Iterator[tuple[UUID, set[int]]]:
        """Every run that has anything there, and its attempts with more than a log, whole or not; one at a time."""
        ...


@dataclass(frozen=True)
class Bucket:
    """`s3://name/prefix`; the rest (credentials, region, endpoint) is in the usual variables AWS_…"""

    name: str
    prefix: str

    def __str__(self) -> str:
        return f"{_S3}{self.name}/{self.prefix}".rstrip("/")


Place = Path | Bucket


def read_place(value: object) -> Place:
    """What `ONCETUNE_ARTIFACTS` means; raises ValueError."""
    if isinstance(value, Path | Bucket):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("give a folder, or s3://bucket/prefix")
    if not value.startswith(_S3):
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", value):
            raise ValueError("give a folder, or s3://bucket/prefix; no other address is understood")
        return Path(value)
    name, _, prefix = value.removeprefix(_S3).strip("/").partition("/")
    if not _BUCKET.fullmatch(name):
        raise ValueError("s3://bucket/prefix: a bucket's name has 3 to 63 characters of a-z, 0-9, . and -")
    if prefix and (not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/"))):
        raise ValueError("s3://bucket/prefix: the prefix is made of letters, digits, _ . - and single slashes")
    return Bucket(name, prefix)


def measure(content: IO[bytes]) -> StoredFile:
    """Size and hash of what is left of an open file."""
    digest = hashlib.file_digest(content, "sha256")  # type: ignore[arg-type]
    return StoredFile(content.tell(), digest.hexdigest())


def measure_all(files: Mapping[str, Path]) -> dict[str, StoredFile]:
    """Of files that lie on this machine's disk."""
    measured = {}
    for name, path in files.items():
        with path.open("rb") as content:
            measured[name] = measure(content)
    return measured


def tree_sha256(files: Mapping[str, str]) -> str:
    """SHA-256 over the lines `<file's sha256>  <path>`, sorted by path: what `sha256sum` prints, hashed again.

    In the folder: `find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum`.
    """
    lines = [f"{digest}  {path}\n" for path, digest in sorted(files.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def published(uri: str, staged: Files, stored: Files) -> Published:
    """The record of files that were stored; raises NotStored when they are not those that were staged."""
    for name, file in staged.items():
        if stored.get(name) != file:
            raise NotStored(f"{name} came back from the store with other bytes")
    adapter = {name.removeprefix(ADAPTER): file.sha256 for name, file in stored.items() if name.startswith(ADAPTER)}
    files = {name: file for name, file in stored.items() if not name.startswith(ADAPTER)}
    return Published(uri, tree_sha256(adapter), files)
