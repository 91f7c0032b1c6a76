"""python -m tests.bench (make bench): what the services weigh, and the journal beside the least that could do the same.

The ratio compares with a baseline measured in the same run, on the same server; single figures depend on the machine.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import Engine

from oncetune.contracts.envelope import Envelope, open_envelope, write_envelope
from oncetune.postgres import connect, statement, transaction
from tests.bench.fetch import fetching
from tests.bench.memory import peak_of_a_large_body, settled_memory
from tests.bench.quality import ROWS, quality
from tests.bench.servers import SERVE, database, environment, process, report
from tests.postgres import start_server
from tests.serving import free_port

BATCHES, BATCH = 30, 100
COMMAND = [sys.executable, "-m", "oncetune.cli"]


def fastest(once: Callable[[], float], times: int = 5) -> float:
    """Seconds, the least of several; the first one warms the disk's cache."""
    return min(once() for _ in range(times))


def importing() -> float:
    """Seconds that a fresh interpreter takes to import both services."""
    code = "import time; began = time.perf_counter(); import oncetune.serve; print(time.perf_counter() - began)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE).stdout)


def helping() -> float:
    began = time.perf_counter()
    subprocess.run([*COMMAND, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def start_up() -> None:
    report("import oncetune.serve, seconds", f"{fastest(importing):.2f}")
    report("oncetune --help, seconds", f"{fastest(helping):.2f}")


def services(url: str) -> None:
    port = free_port()
    own = [*SERVE, "trigger", "status", "--host", "127.0.0.1", "--port", str(port)]
    with process(own, environment(url, port), port) as server:
        report("trigger + status in one process at rest, MiB RSS", f"{settled_memory(server.pid):.0f}")
        cost = peak_of_a_large_body(server.pid, f"http://127.0.0.1:{port}")
        report("a chunked body of 1 GiB costs at its peak, MiB", f"{cost:.0f}")


def events(count: int) -> list[Envelope]:
    run_id, now = uuid4(), datetime.now(UTC)
    payload = {"attempt": 1, "step": 3, "steps": 9, "loss": 0.5}
    made = {"run_id": run_id, "type": "run.progress", "source": "/bench", "occurred_at": now, "payload": payload}
    return [
        open_envelope(write_envelope(event_id=uuid4(), position=position, **made))  # type: ignore[arg-type]
        for position in range(1, count + 1)
    ]


def journal(owner: Engine) -> None:
    from oncetune.status.journal import _rows, append_events

    def append(batch: list[Envelope]) -> None:
        with transaction(owner) as session:
            append_events(session, batch)

    def insert(rows: str) -> None:
        with transaction(owner) as session:
            session.execute(statement("status", "append_events"), {"events": rows}).all()

    def per_second(write: Callable[[object], None], batches: list[object]) -> float:
        write(batches.pop())
        start = time.perf_counter()
        for batch in batches:
            write(batch)
        return len(batches) * BATCH / (time.perf_counter() - start)

    raw = per_second(insert, [_rows(events(BATCH)) for _ in range(BATCHES + 1)])  # type: ignore[arg-type]
    fresh = per_second(append, [events(BATCH) for _ in range(BATCHES + 1)])  # type: ignore[arg-type]
    known = events(BATCH)
    repeated = per_second(append, [known] * (BATCHES + 1))  # type: ignore[arg-type]
    report("baseline: INSERT ON CONFLICT of 100 ready rows, events/s", f"{raw:.0f}")
    report("journal, batches of 100 new events, events/s", f"{fresh:.0f}")
    report("journal, batches of 100 known events, events/s", f"{repeated:.0f}")
    report("ratio, new", f"{fresh / raw:.2f}")


def main() -> None:
    os.chdir(tempfile.gettempdir())  # nothing here reads or writes the working folder
    start_up()
    fetching()
    quality(ROWS, "like people's")  # the others: python -m tests.bench.quality
    server = start_server()
    try:
        report("postgres", server.kind)
        with database(server.url) as url:
            owner = connect(url, role=None, pool_size=2)
            journal(owner)
            services(url)
            owner.dispose()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
