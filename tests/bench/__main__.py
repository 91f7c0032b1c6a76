"""python -m tests.bench (make bench): what the services weigh, and their speed beside the least that could do the same.

Each ratio compares with a baseline measured in the same run, on the same server; single figures depend on the machine.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import uuid4

import httpx
from sqlalchemy import Engine, make_url, text

from oncetune.contracts.envelope import Envelope, open_envelope, write_envelope
from oncetune.migrations.upgrade import upgrade
from oncetune.postgres import connect, statement, transaction
from tests.bench.memory import memory, peak_of_a_large_body, settled_memory
from tests.deadline import eventually
from tests.postgres import start_server

REQUESTS, CALLERS = 400, 8
BATCHES, BATCH = 30, 100
COMMAND = [sys.executable, "-m", "oncetune.cli"]
INSERT = "INSERT INTO bench (body) VALUES (:body)"


def report(what: str, figure: str) -> None:
    print(f"{what:<72}{figure:>16}", flush=True)


@contextmanager
def database(server_url: str) -> Iterator[str]:
    """A migrated database of this run alone."""
    name = f"bench_{uuid4().hex}"
    admin = connect(server_url, role=None, pool_size=1).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
    try:
        upgrade(url)
        yield url
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


@contextmanager
def process(command: list[str], environment: dict[str, str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server that answers /ready; its log is thrown away."""
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            with httpx.Client(trust_env=False) as client:
                eventually(lambda: ready(client, port), seconds=30)
            yield server
        finally:
            server.terminate()


def ready(client: httpx.Client, port: int) -> bool:
    try:
        return client.get(f"http://127.0.0.1:{port}/ready").is_success
    except httpx.TransportError:
        return False


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


def requests_per_second(url: str, make: Callable[[int], tuple[dict[str, str], bytes]]) -> float:
    """Accepted requests a second of several callers with a connection each."""
    share = REQUESTS // CALLERS
    begin = threading.Barrier(CALLERS + 1)

    def call(caller: int) -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            wanted = [make(caller * share + number) for number in range(share)]
            client.get(f"{url}/live")
            begin.wait()
            for headers, body in wanted:
                client.post(url, headers=headers, content=body).raise_for_status()

    with ThreadPoolExecutor(CALLERS) as pool:
        callers = [pool.submit(call, caller) for caller in range(CALLERS)]
        begin.wait()
        start = time.perf_counter()
        for caller in callers:
            caller.result()
    return REQUESTS / (time.perf_counter() - start)


def services(url: str) -> None:
    from tests.serving import APP_TOKEN, SECRET, free_port, signed

    port = free_port()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "DATABASE_URL": url,
        "DPO_GATEWAY_SHARED_SECRET": SECRET,
        "APP_API_TOKEN": APP_TOKEN,
        "ONCETUNE_ENVIRONMENT": "local",
        "ONCETUNE_TRIGGER_DELIVERY": "direct",
        "ONCETUNE_TRIGGER_RUNS_PER_MINUTE": "100000",
        "ONCETUNE_TRIGGER_DIRECT_STATUS_URL": f"http://127.0.0.1:{port}",
    }
    own = [*COMMAND, "serve", "trigger", "status", "--host", "127.0.0.1", "--port", str(port)]
    with process(own, environment, port) as server:
        report("trigger + status in one process at rest, MiB RSS", f"{settled_memory(server.pid):.0f}")
        cost = peak_of_a_large_body(server.pid, f"http://127.0.0.1:{port}")
        report("a chunked body of 1 GiB costs at its peak, MiB", f"{cost:.0f}")
    row = {"prompt": "Where is my parcel?", "chosen": "Let me look, please.", "rejected": "No idea."}

    def ask(number: int) -> tuple[dict[str, str], bytes]:
        body = {"kb_id": f"kb{number}", "exp_name": "bench", "dataset_inline": [row] * 20}
        return signed() | {"Idempotency-Key": f"key{number}"}, json.dumps(body).encode()

    def insert(number: int) -> tuple[dict[str, str], bytes]:
        return {"content-type": "application/json"}, ask(number)[1]

    baseline = [sys.executable, "-m", "tests.bench", "serve", str(port)]
    with process(baseline, environment, port) as server:
        one_insert = requests_per_second(f"http://127.0.0.1:{port}/one-insert", insert)
        trigger = requests_per_second(f"http://127.0.0.1:{port}/trigger-finetune", ask)
        report("the same after the load, MiB RSS", f"{memory(server.pid):.0f}")
    report("baseline: the same app, a route with one INSERT, requests/s", f"{one_insert:.0f}")
    report("POST /trigger-finetune with a key and 20 rows, requests/s", f"{trigger:.0f}")
    report("ratio", f"{trigger / one_insert:.2f}")


def serve_with_baseline(port: int) -> None:
    """Trigger and status, and beside them a route that does one INSERT with the same pool and threads."""
    import uvicorn
    from fastapi import Request

    from oncetune.serve import create_app

    app = create_app(("trigger", "status"))

    def one_insert(body: dict[str, object], request: Request) -> dict[str, str]:
        with transaction(request.app.state.trigger.engine) as session:
            session.execute(text(INSERT), {"body": json.dumps(body)})
        return {"status": "queued"}

    app.add_api_route("/one-insert", one_insert, methods=["POST"])
    uvicorn.run(app, host="127.0.0.1", port=port, log_config=None, access_log=False)


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
    server = start_server()
    try:
        report("postgres", server.kind)
        with database(server.url) as url:
            owner = connect(url, role=None, pool_size=2)
            with transaction(owner) as session:
                session.execute(text("CREATE TABLE bench (id bigserial, body jsonb)"))
                session.execute(text("GRANT INSERT ON bench TO oncetune_trigger"))
                session.execute(text("GRANT USAGE ON bench_id_seq TO oncetune_trigger"))
            journal(owner)
            services(url)
            owner.dispose()
    finally:
        server.stop()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve_with_baseline(int(sys.argv[2]))
    else:
        main()
