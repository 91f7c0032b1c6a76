"""One fetch from a server of the test's own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from oncetune.datasets.fetch import Fetched, fetch_dataset
from oncetune.datasets.fetch_rules import FetchRules
from oncetune.datasets.refusal import DatasetRefused
from tests.datasets.hostile import Hostile, Script, hostile

MIB = 2**20
Fetch = Callable[[str], tuple[Fetched, bytes]]


def rules(server: Hostile, **other: Any) -> FetchRules:
    """127.0.0.1 is allowed, at the port of the server."""
    own = FetchRules(max_bytes=MIB, deadline=timedelta(seconds=5), ports=frozenset({server.port}), allow=("127.0.0.1",))
    return replace(own, **other)


def fetch(url: str, folder: Path, its: FetchRules, stop: Callable[[], bool] = lambda: False) -> tuple[Fetched, bytes]:
    fetched = fetch_dataset(url, folder / "pairs", its, stop)
    return fetched, (folder / "pairs").read_bytes()


def refusal(url: str, folder: Path, its: FetchRules) -> DatasetRefused:
    """What the fetch was refused with; it left no file."""
    with pytest.raises(DatasetRefused) as refused:
        fetch_dataset(url, folder / "pairs", its, lambda: False)
    assert list(folder.iterdir()) == []
    return refused.value


@contextmanager
def saying(script: Script | list[Script]) -> Iterator[Hostile]:
    with hostile({"/pairs": script}) as server:
        yield server


def refused_with(script: Script | list[Script], folder: Path, **other: Any) -> DatasetRefused:
    with saying(script) as server:
        return refusal(server.url("/pairs"), folder, rules(server, **other))
