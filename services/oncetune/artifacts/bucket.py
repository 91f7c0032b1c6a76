"""Results in a bucket: objects `<prefix>/<run>/<attempt>/…` of Amazon S3 or a server that speaks its protocol.

The usual variables say the rest, read by the client itself: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or what a
cloud gives its machines and pods), AWS_REGION, AWS_ENDPOINT_URL for another server. Its bucket stands in the path
unless AWS_VIRTUAL_HOSTED_STYLE_REQUEST says otherwise, and http:// is allowed where the endpoint says it.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import UUID

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from oncetune.artifacts.kinds import content_type, disposition
from oncetune.artifacts.store import (
    LOG_NAME,
    Bucket,
    Files,
    NotStored,
    Published,
    StoredFile,
    measure_all,
    published,
)

_PART_BYTES, _PARTS_AT_ONCE = 8 * 2**20, 4  # of one upload: what it holds in memory
_HTTP_TOO: Any = {"allow_http": "true"}  # which only AWS_ENDPOINT_URL can ask for; the client's types forgot it
_DELETED_AT_ONCE = 1000  # what one request of the protocol may name
_RETRIES, _RETRY_FOR = 3, timedelta(seconds=10)  # our own patience is disk_grace, under a heartbeat that sees a cancel
_SAID = re.compile(r"<Code>([^<]{1,100})</Code>\s*<Message>([^<]{1,300})")
_OF_THE_MACHINE = ("169.254.169.254", "169.254.170.2")  # asked for credentials when nothing else gave them


class BucketStore:
    """A `ResultStore` in a bucket. Making one asks nobody: what is wrong with it is said by its first use."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    @cached_property
    def _objects(self) -> S3Store:
        return S3Store(
            self._bucket.name,
            prefix=self._bucket.prefix or None,
            config=_HTTP_TOO,
            checksum_algorithm="SHA256",  # the server refuses what arrives damaged
            retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_FOR},
        )

    def publish(self, run_id: UUID, attempt: int, files: Mapping[str, Path]) -> Published:
        """See `ResultStore`."""
        staged = measure_all(files)
        place = f"{run_id}/{attempt}"
        with _refusals(self._bucket):
            self._delete(place)
            for name, path in files.items():
                self._put(f"{place}/{name}", path)
            stored = {name: self._measure(f"{place}/{name}") for name in files}
        return published(f"{self._bucket}/{place}/adapter", staged, stored)

    def keep_log(self, run_id: UUID, attempt: int, log_file: Path) -> Files:
        """See `ResultStore`."""
        with _refusals(self._bucket):
            self._put(f"{run_id}/{attempt}/{LOG_NAME}", log_file)
        return measure_all({LOG_NAME: log_file})

    def discard(self, run_id: UUID, attempt: int) -> None:
        """See `ResultStore`."""
        with _refusals(self._bucket):
            self._delete(f"{run_id}/{attempt}", but=f"{run_id}/{attempt}/{LOG_NAME}")

    def remove(self, run_id: UUID) -> None:
        """See `ResultStore`."""
        with _refusals(self._bucket):
            self._delete(str(run_id))

    def places(self) -> Iterator[tuple[UUID, set[int]]]:
        """See `ResultStore`. One request for each thousand objects; a bucket tells them sorted, so by run."""
        for run, names in groupby(self._names(), key=lambda name: name.partition("/")[0]):
            attempts = {attempt for name in names if (attempt := _attempt_with_more_than_a_log(name)) is not None}
            try:
                run_id = UUID(run)
            except ValueError:  # somebody else's objects
                continue
            yield run_id, attempts

    def link(self, run_id: UUID, attempt: int, name: str, lifetime: timedelta) -> str:
        """A URL that gives this object to whoever has it, for so long; asks at most for credentials."""
        with _refusals(self._bucket):
            return obstore.sign(self._objects, "GET", f"{run_id}/{attempt}/{name}", lifetime)

    def _put(self, key: str, path: Path) -> None:
        attributes = {"Content-Type": content_type(key), "Content-Disposition": disposition(key)}
        obstore.put(
            self._objects,
            key,
            path,
            attributes=attributes,
            chunk_size=_PART_BYTES,
            max_concurrency=_PARTS_AT_ONCE,
        )

    def _measure(self, key: str) -> StoredFile:
        digest, size = hashlib.sha256(), 0
        for part in obstore.get(self._objects, key).stream(min_chunk_size=2**20):
            digest.update(part)
            size += len(part)
        return StoredFile(size, digest.hexdigest())

    def _names(self) -> Iterator[str]:
        listing = iter(obstore.list(self._objects))
        while True:
            with _refusals(self._bucket):
                some = next(listing, None)
            if some is None:
                return
            yield from (str(found["path"]) for found in some)

    def _delete(self, prefix: str, *, but: str | None = None) -> None:
        for some in obstore.list(self._objects, prefix, chunk_size=_DELETED_AT_ONCE):
            names = [found["path"] for found in some if found["path"] != but]
            if names:
                obstore.delete(self._objects, names)


def _attempt_with_more_than_a_log(name: str) -> int | None:
    _, attempt, inside = name.split("/", 2) if name.count("/") >= 2 else ("", "", LOG_NAME)
    return int(attempt) if inside != LOG_NAME and attempt.isdecimal() else None


@contextmanager
def _refusals(bucket: Bucket) -> Iterator[None]:
    """Whatever the client says at length (and with what was signed) becomes one sentence."""
    try:
        yield
    except (BaseError, OSError) as error:
        raise NotStored(f"{bucket} refuses: {_sentence(str(error))}") from None


def _sentence(told: str) -> str:
    if said := _SAID.search(told):
        return f"{said[1]}: {said[2]}"
    if any(address in told for address in _OF_THE_MACHINE):
        return "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where the cloud gives some"
    if "HTTP error" in told:
        return "its server does not answer"
    return told.partition("\n")[0].rpartition(" - ")[2][:200]
