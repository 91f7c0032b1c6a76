"""python -m tests.bench.staging: what the preparation of an attempt needs in memory and time, with a real Postgres.

Each case has a trainer process of its own, whose training is a stand-in. A run of one row goes first, so what is told
is what the rows cost: the trainer itself, and its largest child.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
from sqlalchemy import Engine

from oncetune.contracts.preferences import PreferencePair
from oncetune.datasets.packing import pack_rows
from oncetune.ledger.requests import accept
from oncetune.logs import configure_logs
from oncetune.postgres import connect, transaction
from tests.bench.memory import memory, most_memory, peak
from tests.bench.servers import database, report
from tests.datasets.hostile import answer, hostile
from tests.datasets.pairs import Author
from tests.deadline import eventually
from tests.ledger.given import MINUTE, of_url, rows_of, wanted
from tests.postgres import start_server
from tests.trainer.working import working

MEBIBYTES = {"inline": 5, "url": 100}
GATES = {"off": "", "warn": ", looked at"}
SMALL, LARGE = "small", "large"
SOME = 5  # MiB
PROGRAM = "oncetune.trainer.rows_program"
WORDS = 54  # of each text: a row has some 1,000 bytes


def pairs(mebibytes: float) -> Iterator[dict[str, str]]:
    """At least one, and as many as fit."""
    author, left = Author(7), mebibytes * 2**20
    while True:
        pair = {name: " ".join(author.words(WORDS)) for name in ("prompt", "chosen", "rejected")}
        yield pair
        left -= len(json.dumps(pair)) + 1
        if left < 2 * len(json.dumps(pair)):
            return


def jsonl(mebibytes: int) -> bytes:
    """The same few MiB again and again, under other prompts."""
    some = b"".join(json.dumps(pair).encode() + b"\n" for pair in pairs(min(mebibytes, SOME)))
    beginning = b'{"prompt": "'
    return b"".join(some.replace(beginning, beginning + b"%d " % turn) for turn in range(max(1, mebibytes // SOME)))


def completed(owner: Engine) -> int:
    runs = rows_of(owner, "SELECT state, error FROM ledger.run")
    assert "failed" not in {run.state for run in runs}, runs
    return [run.state for run in runs].count("completed")


def measure(database_url: str, port: str) -> None:
    """In a process of its own: prints a line at rest, then what it and its largest child grew by, in MiB."""
    configure_logs("bench", json=True)  # to standard error
    owner = connect(database_url, role=None, pool_size=1)
    allowed = {"fetch_allow": (f"127.0.0.1:{port}",), "fetch_max_size_mb": 128}
    with tempfile.TemporaryDirectory() as folder, working(database_url, Path(folder), "finishes", **allowed) as trainer:
        trainer.go()
        with watched() as small:
            eventually(lambda: completed(owner) == 1, seconds=300)
        before = memory(os.getpid())
        with peak(os.getpid()) as highest, watched() as large:
            print(json.dumps([]), flush=True)
            eventually(lambda: completed(owner) == 2, seconds=600, every=0.5)
        print(json.dumps([highest() - before, max(large) - max(small)]))


@contextmanager
def watched() -> Iterator[list[float]]:
    """The most that each program for rows had, as seen every few milliseconds."""
    seen, ended = [0.0], threading.Event()

    def look() -> None:
        while not ended.wait(0.01):
            for child in psutil.Process().children():
                with suppress(psutil.Error, OSError, StopIteration):  # it has ended
                    if PROGRAM in child.cmdline():
                        seen.append(most_memory(child.pid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def staging(server_url: str, where: str, gate: str, port: int) -> None:
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with database(server_url) as url:
        owner = connect(url, role=None, pool_size=1)
        ask(owner, where, SMALL, gate, port)
        command = [sys.executable, "-m", "tests.bench.staging", url, str(port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=surroundings) as trainer:
            assert trainer.stdout is not None
            assert trainer.stdout.readline(), "the run of one row did not end"
            ask(owner, where, LARGE, gate, port)
            growth, child = json.loads(trainer.stdout.readline())
        [run] = rows_of(owner, "SELECT finished_at - started_at AS lasted FROM ledger.run WHERE kb_id = 'large'")
        owner.dispose()
    case = f"staging {MEBIBYTES[where]} MiB, {where}{GATES[gate]}"
    report(f"{case}: the trainer grows by MiB", f"{growth:.1f}")
    report(f"{case}: its largest child grows by MiB", f"{child:.1f}")
    report(f"{case}: seconds", f"{run.lasted.total_seconds():.1f}")


def ask(owner: Engine, where: str, size: str, gate: str, port: int) -> None:
    mebibytes = MEBIBYTES[where] if size == LARGE else 0
    if where == "url":
        request = of_url(size, f"http://127.0.0.1:{port}/{size}")
    else:
        request = wanted(size, rows=pack_rows(map(PreferencePair.model_validate, pairs(mebibytes))))
    request = replace(request, recipe=request.recipe.model_copy(update={"quality_gate": gate}))
    with transaction(owner) as session:
        accept(session, request, key=None, fingerprint="", key_lifetime=MINUTE, runs_per_minute=10)


def main() -> None:
    postgres = start_server()
    try:
        with hostile({f"/{SMALL}": answer(jsonl(0)), f"/{LARGE}": answer(jsonl(MEBIBYTES["url"]))}) as server:
            for where in MEBIBYTES:
                for gate in GATES:
                    staging(postgres.url, where, gate, server.port)
    finally:
        postgres.stop()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1], sys.argv[2])
    else:
        main()
