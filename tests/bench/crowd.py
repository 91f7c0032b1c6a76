"""python -m tests.bench.crowd: what trigger holds with nobody there, and with N callers who all send the largest body.

By these figures the chart derives ONCETUNE_REQUESTS from the memory limit of a pod (`oncetune.requests`).
"""

import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.bench.memory import memory, peak, settled_memory
from tests.bench.servers import SERVE, database, environment, process, report
from tests.postgres import start_server
from tests.serving import free_port, signed

MEGABYTES = 5
CROWDS = (1, 2, 10)
TEXT = "Where is my parcel? It was to come on Monday. "


def filled(row: object) -> bytes:
    """A body of nearly MEGABYTES with nothing but this row."""
    one = json.dumps(row, separators=(",", ":"))
    body = {"kb_id": "crowd", "exp_name": "crowd", "dataset_inline": []}
    room = MEGABYTES * 2**20 - len(json.dumps(body)) - 10
    rows = ",".join([one] * (room // (len(one) + 1)))
    return json.dumps(body).replace("[]", f"[{rows}]").encode()


BODIES = {
    "rows of 1 KiB": filled({"prompt": TEXT * 5, "chosen": TEXT * 10, "rejected": TEXT * 8}),
    "the smallest rows": filled({"prompt": "a", "chosen": "b", "rejected": "c"}),
    "the smallest messages": filled(
        {"prompt": "a", "chosen": [{"role": "user", "content": "b"}] * 30, "rejected": "c"}
    ),
    "empty lists (refused)": filled([]),
    "lists in lists (refused)": filled(json.loads("[" * 50 + "]" * 50)),
}


def crowd(url: str, body: bytes, callers: int) -> dict[int, int]:
    """How often each status was answered to `callers` at once, each a user of its own."""

    def ask(number: int) -> int:
        headers = signed(f"caller-{callers}-{number}")
        with httpx.Client(trust_env=False, timeout=600) as client:
            return client.post(f"{url}/trigger-finetune", content=body, headers=headers).status_code

    with ThreadPoolExecutor(callers) as pool:
        answers = list(pool.map(ask, range(callers)))
    return {status: answers.count(status) for status in sorted(set(answers))}


def measure(service: str, url: str) -> None:
    """One process, from its start: at rest, after an ordinary request, then under each crowd's peak."""
    port = free_port()
    own = [*SERVE, service, "--host", "127.0.0.1", "--port", str(port)]
    settings = environment(url, port) | {"ONCETUNE_TRIGGER_RUNS_PER_MINUTE": "1000"}
    with process(own, settings, port, seconds=300) as server:
        address = f"http://127.0.0.1:{port}"
        report(f"{service} at rest, MiB RSS", f"{settled_memory(server.pid):.0f}")
        if service != "trigger":
            return
        row = {"prompt": TEXT, "chosen": TEXT, "rejected": TEXT}
        crowd(address, json.dumps({"kb_id": "one", "exp_name": "one", "dataset_inline": [row] * 20}).encode(), 1)
        report("trigger after one run, MiB RSS", f"{settled_memory(server.pid):.0f}")
        for name, body in BODIES.items():
            for callers in CROWDS:
                before = memory(server.pid)
                with peak(server.pid) as highest:
                    answers = crowd(address, body, callers)
                    report(f"{callers} at once, {name}: {answers}, before / peak", f"{before:.0f} / {highest():.0f}")


def main() -> None:
    os.chdir(tempfile.gettempdir())
    server = start_server()
    try:
        with database(server.url) as url:
            for service in sys.argv[1:] or ("status", "trigger"):
                measure(service, url)
    finally:
        server.stop()


if __name__ == "__main__":
    main()
