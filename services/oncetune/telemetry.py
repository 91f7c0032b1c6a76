"""Every metric that oncetune has: its name, its labels, and how to add it up over replicas.

Base units; counters end in `_total`; no label names a run, a user or a dataset. What happens in a process is counted
there; what lives in the database is read when `/metrics` is asked (`scrape.py`), by status alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from prometheus_client import Counter, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from oncetune.contracts.progress import Progress
from oncetune.contracts.run import TERMINAL

_MINUTE, _HOUR = 60, 3600
_WAITS = (0.1, 0.5, 1, 5, 15, 30, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 4 * _HOUR, 24 * _HOUR)
_EACH = "Of one process: sum over the replicas."
_SAME = "Read from the database, the same in each replica: take the max, never the sum. Absent while it is away."

disable_created_metrics()  # a second series for each of those below, which nobody reads

_HTTP_REQUESTS = Counter(
    "oncetune_http_requests",
    f"Requests answered, deliveries and probes included. {_EACH}",
    ["service", "method", "route", "status"],
    registry=None,
)
_HTTP_DURATION = Histogram(
    "oncetune_http_request_duration_seconds",
    f"From a request's head to the end of its answer. {_EACH}",
    ["service", "method", "route"],
    registry=None,
)
_EVENTS = Counter(
    "oncetune_events_processed",
    f"Deliveries of events, by the outcome that their log line tells. {_EACH}",
    ["service", "topic", "outcome"],
    registry=None,
)
_EVENT_LAG = Histogram(
    "oncetune_event_lag_seconds",
    f"From an event's own time to the end of its first delivery; repeats are left out. {_EACH}",
    ["service", "topic"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR),
    registry=None,
)
_RUNS = Counter(
    "oncetune_runs",
    f"Runs that ended, each counted once: where the journal takes its last event. {_EACH}",
    ["state"],
    registry=None,
)
_RUN_DURATION = Histogram(
    "oncetune_run_duration_seconds",
    f"From the start of a run's first attempt to its end, the pauses between attempts included. {_EACH}",
    buckets=_WAITS[3:],
    registry=None,
)
_RUN_QUEUE = Histogram(
    "oncetune_run_queue_seconds",
    f"From a run's request to the start of its first attempt. {_EACH}",
    buckets=_WAITS,
    registry=None,
)
_STEPS = Counter("oncetune_training_steps", f"Optimizer steps made. {_EACH}", registry=None)

for _state in TERMINAL:
    _RUNS.labels(_state.value)  # there from the start: Prometheus sees no increase in what was not there


class _Training(Collector):
    """The run in work: a trainer has at most one."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def tell(self, progress: Progress) -> None:
        """What the child said last."""
        before = self._progress.step if self._progress else 0
        _STEPS.inc(max(0, progress.step - max(before, progress.resumed_from_step or 0)))
        self._progress = progress

    def end(self) -> None:
        """The attempt is over."""
        self._progress = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        step = GaugeMetricFamily("oncetune_training_step", "Optimizer step of the run in work. Absent without one.")
        loss = GaugeMetricFamily("oncetune_training_loss", "Loss of that step. Absent before the first.")
        progress = self._progress
        if progress is not None:
            step.add_metric([], progress.step)
        if progress is not None and progress.loss is not None:
            loss.add_metric([], progress.loss)
        yield from (step, loss)


training = _Training()

_OF: Mapping[str, tuple[Collector, ...]] = {
    "trigger": (),
    "status": (_EVENTS, _EVENT_LAG, _RUNS, _RUN_DURATION, _RUN_QUEUE),
    "trainer": (_EVENTS, _EVENT_LAG, _STEPS, training),
}


def of_services(services: tuple[str, ...]) -> tuple[Collector, ...]:
    """What a process that serves these services counts."""
    return tuple(dict.fromkeys([_HTTP_REQUESTS, _HTTP_DURATION, *(one for name in services for one in _OF[name])]))


def count_request(service: str, method: str, route: str, status: str, *, seconds: float) -> None:
    """One HTTP request; `route` is its template, never its path."""
    _HTTP_REQUESTS.labels(service, method, route, status).inc()
    _HTTP_DURATION.labels(service, method, route).observe(seconds)


def count_event(service: str, topic: str, outcome: str, occurred_at: datetime | None = None) -> None:
    """One delivery of an event; `occurred_at` is the event's own time where that is known."""
    _EVENTS.labels(service, topic, outcome).inc()
    if occurred_at is not None and outcome == "ok":
        _EVENT_LAG.labels(service, topic).observe(max(0.0, (datetime.now(UTC) - occurred_at).total_seconds()))


def count_end(state: str) -> None:
    """A run ended in this state."""
    _RUNS.labels(state).inc()


def observe_queue(seconds: float) -> None:
    """A run's first attempt started."""
    _RUN_QUEUE.observe(seconds)


def observe_duration(seconds: float) -> None:
    """A run that had started ended."""
    _RUN_DURATION.observe(seconds)


def build_info(version: str) -> GaugeMetricFamily:
    """Which release this is."""
    family = GaugeMetricFamily("oncetune_build_info", "1, with the version.", labels=["version"])
    family.add_metric([version], 1)
    return family


def pools_in_use(service: str, pools: Mapping[str, int]) -> GaugeMetricFamily:
    """How many connections of each pool somebody holds."""
    family = GaugeMetricFamily(
        "oncetune_db_pool_in_use", f"Database connections in use. {_EACH}", labels=["service", "pool"]
    )
    for name, in_use in pools.items():
        family.add_metric([service, name], in_use)
    return family


@dataclass(frozen=True)
class Standing(Collector):
    """How the database stands. Counts stop at a limit, so that asking for them stays cheap whatever piles up."""

    queued: int
    running: int
    outbox_pending: int
    outbox_oldest_seconds: float
    dead_letters: int

    def collect(self) -> Iterator[GaugeMetricFamily]:
        waiting = f"Runs that wait (queued) or are leased (running), at most 10000. {_SAME}"
        active = GaugeMetricFamily("oncetune_runs_active", waiting, labels=["state"])
        active.add_metric(["queued"], self.queued)
        active.add_metric(["running"], self.running)
        yield active
        for name, meaning, value in (
            ("pending", "Events that the journal does not hold yet, at most 10000.", self.outbox_pending),
            ("oldest_seconds", "Age of the oldest of them, 0 without any.", self.outbox_oldest_seconds),
        ):
            yield GaugeMetricFamily(f"oncetune_outbox_{name}", f"{meaning} {_SAME}", value=value)
        letters = f"Dead letters that nobody has decided about, of the newest 10000. {_SAME}"
        yield GaugeMetricFamily("oncetune_dead_letters", letters, value=self.dead_letters)
