"""python -m tests.bench.trigger (make bench-trigger): the highest rate that trigger keeps, beside a bare route's.

Trigger verifies the gateway's signature, validates every row, keeps the Idempotency-Key, and commits run, outbox
event and dataset; the relay and a status service journal the events meanwhile. The bare route is FastAPI and one
INSERT of the same bytes, with the same pool, threads and server options on the same Postgres, which syncs its
commits to disk. Both are measured in turn, so that what else the machine does meets both.
"""

import json
import os
import statistics
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from sqlalchemy import Engine, text

from oncetune.postgres import connect, transaction
from tests.bench.load import Offer, arrivals, generator, offer
from tests.bench.servers import BARE_TABLE, SERVE, database, environment, process, report, serve_bare
from tests.bench.slow import hold
from tests.deadline import eventually
from tests.postgres import start_server
from tests.serving import free_port, signed

P99_SECONDS = 0.100
FIRST_RATE, GROWTH, CLOSE_ENOUGH = 30.0, 1.5, 1.06  # requests a second; steps up, then halvings of what is between
LEAST_RATE = 2.0  # a machine that cannot keep this is too busy to be measured
STEP_SECONDS, HALF_SECONDS, HALF_ROUNDS = 5.0, 10.0, 3
ROWS, USERS = 20, 5_000  # each may ask for 5 runs a minute
SLOW_CALLERS, SLOW_ROUNDS = 500, 3
RESULTS = Path(".cache/bench")


@dataclass
class Side:
    """One of the two that are compared, and every figure taken of it."""

    name: str
    port: int
    request: Callable[[int], bytes]
    drained: Callable[[], bool]
    offers: list[Offer] = field(default_factory=list)

    def offer(self, pool: ProcessPoolExecutor, rate: float, seconds: float, numbers: Iterator[int]) -> Offer:
        times = arrivals(rate, seconds, seed=len(self.offers))
        requests = [self.request(next(numbers)) for _ in times]
        made = pool.submit(offer, self.port, requests, times, rate, seconds).result()
        self.offers.append(made)
        print(f"  {self.name:<8}{rate:7.1f}/s   p50 {made.p50 * 1000:8.1f} ms   p99 {made.p99 * 1000:8.1f} ms"
              f"   sent late {made.sent_late_p99 * 1000:5.1f} ms   {made.statuses}", flush=True)  # fmt: skip
        eventually(self.drained, seconds=60)
        return made


def post(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """A request as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()] + [f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def payload(number: int) -> bytes:
    """A small dataset that nobody sent before."""
    rows = [
        {"prompt": f"Where is parcel {number}-{row}?", "chosen": "Let me look, please.", "rejected": "No idea."}
        for row in range(ROWS)
    ]
    return json.dumps({"kb_id": f"kb{number}", "exp_name": "bench", "dataset_inline": rows}).encode()


def bare_request(number: int) -> bytes:
    """The same payload, for the bare route."""
    return post("/bare", payload(number), {})


def trigger_request(number: int) -> bytes:
    """A new run: its own key, kb_id and dataset, of a user who has no other on the way."""
    headers = signed(f"user{number % USERS}") | {"Idempotency-Key": f"key{number}"}
    return post("/trigger-finetune", payload(number), headers)


@contextmanager
def sides(url: str, owner: Engine) -> Iterator[tuple[Side, Side]]:
    """The bare route and trigger, each served; status journals in a process of its own."""
    bare, trigger, status = free_port(), free_port(), free_port()
    settings = environment(url, status)

    def journalled() -> bool:
        with transaction(owner) as session:
            waiting = text("SELECT FROM ledger.outbox WHERE confirmed_at IS NULL LIMIT 1")
            return session.execute(waiting).one_or_none() is None

    with (
        process([sys.executable, "-m", "tests.bench.trigger", "bare", str(bare)], settings, bare),
        process([*SERVE, "status", "--host", "127.0.0.1", "--port", str(status)], settings, status),
        process([*SERVE, "trigger", "--host", "127.0.0.1", "--port", str(trigger)], settings, trigger),
    ):
        yield Side("bare", bare, bare_request, lambda: True), Side("trigger", trigger, trigger_request, journalled)


@dataclass
class Search:
    """Between the highest rate that kept its p99 and the lowest that did not."""

    side: Side
    kept: float = 0.0
    lost: float | None = None

    @property
    def done(self) -> bool:
        return self.lost is not None and self.lost <= max(LEAST_RATE, self.kept * CLOSE_ENOUGH)

    def step(self, pool: ProcessPoolExecutor, numbers: Iterator[int]) -> None:
        """One rate; a failure counts when it repeats, since any machine stalls now and then."""
        rate = self._next()
        tries = (self.side.offer(pool, rate, STEP_SECONDS, numbers).p99 <= P99_SECONDS for _ in range(2))
        if any(tries):
            self.kept = rate
        else:
            self.lost = rate

    def _next(self) -> float:
        if self.lost is None:
            return max(FIRST_RATE, self.kept * GROWTH)
        return (self.kept + self.lost) / 2


def highest_rates(pool: ProcessPoolExecutor, both: tuple[Side, Side], numbers: Iterator[int]) -> tuple[float, float]:
    searches = [Search(side) for side in both]
    while not all(search.done for search in searches):
        for search in searches:
            if not search.done:
                search.step(pool, numbers)
    bare, trigger = searches
    return bare.kept, trigger.kept


def p99_at(
    pool: ProcessPoolExecutor, both: tuple[Side, Side], rate: float, numbers: Iterator[int]
) -> tuple[float, float]:
    """The median of some rounds, for each side."""
    rounds = [[side.offer(pool, rate, HALF_SECONDS, numbers).p99 for side in both] for _ in range(HALF_ROUNDS)]
    bare, trigger = (statistics.median(taken) for taken in zip(*rounds, strict=True))
    return bare, trigger


def slow_callers() -> list[tuple[bytes, bytes]]:
    """What each sends at once, and then a byte a second: half of them stop in the headers, half in the body."""
    requests = [trigger_request(10**9 + number) for number in range(SLOW_CALLERS)]
    cuts = [20 if number % 2 else request.index(b"\r\n\r\n") + 4 for number, request in enumerate(requests)]
    return [(request[:cut], request[cut:]) for request, cut in zip(requests, cuts, strict=True)]


def connected(port: int) -> int:
    """How many connections this server has, as the kernel counts them."""
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(line[1].endswith(f":{port:04X}") and line[3] == "01" for line in lines)


def p99_beside_slow_callers(
    pool: ProcessPoolExecutor, trigger: Side, rate: float, numbers: Iterator[int]
) -> tuple[float, float]:
    """Trigger's p99 alone and beside the slow ones, each the median of some rounds in turn."""
    alone, beside = [], []
    with generator() as slow:
        for _ in range(SLOW_ROUNDS):
            alone.append(trigger.offer(pool, rate, HALF_SECONDS, numbers).p99)
            held = slow.submit(hold, trigger.port, slow_callers(), int(HALF_SECONDS) + 4)
            eventually(lambda: connected(trigger.port) >= SLOW_CALLERS)
            beside.append(trigger.offer(pool, rate, HALF_SECONDS, numbers).p99)
            print(f"  … beside {held.result()} callers that sent a byte a second")
    return statistics.median(alone), statistics.median(beside)


def write_results(kind: str, both: tuple[Side, Side], figures: dict[str, float]) -> Path:
    """Every figure that was taken, beside what was made of them."""
    now = datetime.now(UTC)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"trigger-{now:%Y%m%dT%H%M%SZ}.json"
    taken = {side.name: [made.as_json() for made in side.offers] for side in both}
    document = {"at": now.isoformat(), "postgres": kind, "cpus": os.cpu_count(), "load": os.getloadavg()}
    path.write_text(json.dumps(document | {"figures": figures, "offers": taken}, indent=1) + "\n")
    return path


def main() -> None:
    server = start_server(durable=True)
    numbers = count()
    try:
        with database(server.url) as url:
            owner = connect(url, role=None, pool_size=2)
            with transaction(owner) as session:
                session.execute(text(BARE_TABLE))
            with sides(url, owner) as both, generator() as pool:
                for side in both:
                    side.offer(pool, FIRST_RATE, STEP_SECONDS, numbers)  # warms pools, plans and caches
                bare, trigger = highest_rates(pool, both, numbers)
                half = trigger / 2
                bare_p99, trigger_p99 = p99_at(pool, both, half, numbers)
                alone, beside = p99_beside_slow_callers(pool, both[1], half, numbers)
            owner.dispose()
    finally:
        server.stop()
    report("postgres, commits synced to disk", server.kind)
    report("bare route with one INSERT: highest rate with p99 < 100 ms", f"{bare:.0f}/s")
    report("POST /trigger-finetune: the same", f"{trigger:.0f}/s")
    report("ratio (goal: at least 0.8)", f"{trigger / bare:.2f}")
    report(f"bare route: p99 at {half:.0f}/s, half of trigger's highest rate", f"{bare_p99 * 1000:.1f} ms")
    report("POST /trigger-finetune: the same", f"{trigger_p99 * 1000:.1f} ms")
    report("ratio (goal: at most 1.5)", f"{trigger_p99 / bare_p99:.2f}")
    report(
        f"the same, alone and beside {SLOW_CALLERS} callers of a byte a second",
        f"{alone * 1000:.1f}, {beside * 1000:.1f} ms",
    )
    report("ratio (goal: at most 2)", f"{beside / alone:.2f}")
    figures = {
        "alone_p99": alone,
        "beside_slow_p99": beside,
        "bare": bare,
        "trigger": trigger,
        "half": half,
        "bare_p99": bare_p99,
        "trigger_p99": trigger_p99,
    }
    print(f"raw figures: {write_results(server.kind, both, figures)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["bare"]:
        serve_bare(int(sys.argv[2]))
    else:
        main()
