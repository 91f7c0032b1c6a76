"""python -m tests.bench.fetch: what a process that fetches a dataset by URL needs in memory and time.

The server is another process than the one that is measured, which has imported all it needs.
"""

import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from oncetune.datasets.fetch import fetch_dataset
from oncetune.datasets.fetch_rules import FetchRules
from oncetune.datasets.refusal import DatasetRefused
from tests.bench.memory import memory, peak
from tests.bench.servers import report
from tests.datasets.hostile import answer, hostile

MEBIBYTES = 100
LIMIT = 128 * 2**20


def rows() -> Iterator[bytes]:
    """Lines of 1 KiB which gzip makes half as large."""
    made = random.Random(7)
    for _ in range(MEBIBYTES * 1024):
        yield b'{"prompt": "%s"}\n' % made.randbytes((1024 - 15) // 2).hex().encode()


def measure(url: str, port: int) -> None:
    """In a process of its own: prints the growth at its peak in MiB, the seconds, and how it ended."""
    rules = FetchRules(max_bytes=LIMIT, ports=frozenset({port}), allow=("127.0.0.1",))
    with tempfile.TemporaryDirectory() as folder, peak(os.getpid()) as highest:
        before, began = memory(os.getpid()), time.perf_counter()
        try:
            end = f"{fetch_dataset(url, Path(folder) / 'pairs', rules, lambda: False).byte_count / 2**20:.0f} MiB"
        except DatasetRefused as refused:
            end = refused.code
        print(json.dumps([highest() - before, time.perf_counter() - began, end]))


def fetching() -> None:
    text = b"".join(rows())
    scripts = {
        "/plain": answer(text),
        "/gzip": answer(gzip.compress(text, 1)),
        "/bomb": answer(gzip.compress(bytes(1000 * 2**20))),
    }
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with hostile(scripts) as server:
        for path in scripts:
            command = [sys.executable, "-m", "tests.bench.fetch", server.url(path), str(server.port)]
            told = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=surroundings).stdout
            growth, seconds, end = json.loads(told)
            report(f"fetch of a dataset, {path[1:]}: {end}; grows by MiB", f"{growth:.1f}")
            report(f"fetch of a dataset, {path[1:]}: seconds", f"{seconds:.2f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1], int(sys.argv[2]))
    else:
        fetching()
