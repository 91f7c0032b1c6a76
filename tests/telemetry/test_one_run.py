"""One run through real processes (request, sidecars, broker, trainer; a stand-in for a child): trace and story."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from oncetune.local.up import Stack
from tests.deadline import eventually
from tests.stack import ROWS, client_of, state_of, toy_stack, whole_trail
from tests.telemetry.collector import Collector, collecting
from tests.telemetry.scraped import scrape
from tests.trainer.working import STAND_IN

SERVER, PRODUCER, CONSUMER = 2, 4, 5  # opentelemetry.proto.trace.v1.Span.SpanKind
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
KEEP_TRACE = 'printenv TRACEPARENT > "{control}/traceparent"; exec "$0" "{stand_in}" finishes "{control}" "$1"'


@dataclass(frozen=True)
class OneRun:
    """A run that has completed, and everything that can be known of it from outside."""

    run_id: str
    stack: Stack
    collector: Collector
    childs_trace: str  # TRACEPARENT of the training child
    events: list[dict[str, Any]]

    def lines(self) -> list[dict[str, Any]]:
        """Every log line of our services, in the order of their times."""
        logs = [self.stack.data / "logs" / f"{name}.log" for name in ("trigger-status", "trainer")]
        lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
        return sorted(lines, key=lambda line: line["ts"])

    def story(self) -> list[dict[str, Any]]:
        """What `grep RUN_ID` finds."""
        return [line for line in self.lines() if self.run_id in json.dumps(line)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneRun]:
    folder = tmp_path_factory.mktemp("one-run")
    control = folder / "control"
    control.mkdir()
    (control / "go").touch()
    command = ["/bin/sh", "-c", KEEP_TRACE.format(control=control, stand_in=STAND_IN), sys.executable]
    body = {"kb_id": "one", "exp_name": "one", "base_model": "toy", "dataset_inline": ROWS}
    with collecting() as collector:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",  # milliseconds
            "ONCETUNE_TRAINER_TRAINING_COMMAND": json.dumps(command),
        }
        with toy_stack(folder / "data", folder / "no-model", delivery="sidecar", environment=environment) as stack:
            yield _asked(stack, collector, body, control / "traceparent")


def _asked(stack: Stack, collector: Collector, body: dict[str, Any], kept: Path) -> OneRun:
    asked = json.dumps({**body, "hyperparameters": {"max_steps": 3}}).encode()
    with client_of(stack) as client:
        answer, _ = client.post("/trigger-finetune", asked, {"traceparent": f"00-{TRACE}-{CALLER}-01"})
        run_id = str(answer["run_id"])
        assert state_of(client, run_id, "completed", "failed", seconds=300)["status"] == "completed"
        events = whole_trail(client, run_id)["events"]
    eventually(lambda: collector.of_trace(TRACE, "train"), seconds=20)
    return OneRun(run_id, stack, collector, kept.read_text().strip(), events)


def test_the_request_each_publish_each_delivery_and_the_attempt_are_one_trace(run):
    published = lambda: run.collector.of_trace(TRACE, "publish run.lifecycle")  # noqa: E731
    eventually(lambda: len(published()) >= len(run.events) - 1, seconds=20)
    [request] = run.collector.of_trace(TRACE, "POST /trigger-finetune")
    assert (request.kind, request.parent_id, request.service) == (SERVER, CALLER, "oncetune-trigger-status")
    carried = [one for one in run.collector.of_trace(TRACE) if one is not request]
    assert {one.parent_id for one in carried} == {request.span_id}
    assert {(one.service, one.name, one.kind) for one in carried} == {
        ("oncetune-trigger-status", "publish run.requested", PRODUCER),
        ("oncetune-trigger-status", "publish run.lifecycle", PRODUCER),
        ("oncetune-trigger-status", "process run.requested", CONSUMER),
        ("oncetune-trigger-status", "process run.lifecycle", CONSUMER),
        ("oncetune-trainer", "process run.requested", CONSUMER),
        ("oncetune-trainer", "train", 1),
    }
    assert {one.attributes["oncetune.run_id"] for one in carried} == {run.run_id}
    delivered = {one.attributes["messaging.message.id"] for one in carried if one.kind == CONSUMER}
    assert delivered == {event["event_id"] for event in run.events}


def test_the_trace_reaches_the_training_child(run):
    [attempt] = run.collector.of_trace(TRACE, "train")
    assert run.childs_trace == f"00-{TRACE}-{attempt.span_id}-01"


def test_nothing_is_traced_that_nobody_asked_for(run):
    httpx.get(f"{run.stack.url}/ready", trust_env=False).raise_for_status()
    httpx.get(f"{run.stack.url}/metrics", trust_env=False).raise_for_status()
    httpx.get(f"{run.stack.url}/runs", trust_env=False)  # unsigned, and a span all the same
    eventually(lambda: [one for one in run.collector.spans if one.name == "GET /runs"], seconds=20)
    assert {one.name for one in run.collector.spans if one.kind == SERVER} <= {
        "POST /trigger-finetune", "GET /runs", "GET /runs/{run_id}", "GET /runs/{run_id}/events"
    }  # fmt: skip


def test_one_grep_over_the_logs_tells_the_story_of_a_run_in_its_order(run):
    told = [(line["svc"], line["event"], line.get("type")) for line in run.story()]
    front, trainer = "trigger+status", "trainer"
    chapters = [
        (front, "run.requested", None),
        (trainer, "run.claimed", None),
        (trainer, "training.started", None),
        (trainer, "attempt.ended", None),
        (front, "event.processed", "run.completed"),
    ]
    assert [one for one in told if one in chapters] == chapters
    for event in run.events:
        sent = told.index((front, "event.published", event["type"]))
        taken = [n for n, one in enumerate(told) if one == (front, "event.processed", event["type"])]
        assert taken, event
        assert sent > told.index(chapters[0])
    lines = [line for line in run.story() if (line["svc"], line["event"]) == (front, "event.processed")]
    assert {line["event_id"] for line in lines} == {event["event_id"] for event in run.events}


def test_every_line_that_belongs_to_a_run_says_so_with_the_whole_id_and_its_trace(run):
    event_ids = {event["event_id"] for event in run.events}
    story = run.story()
    belonging = [line for line in run.lines() if line.get("event_id") in event_ids or line.get("trace_id") == TRACE]
    assert all(line["run_id"] == run.run_id for line in [*story, *belonging])
    assert all(line["trace_id"] == TRACE for line in story)
    assert len(story) >= 3 * len(run.events)


def test_the_run_is_counted_once_with_its_times(run):
    with httpx.Client(base_url=run.stack.url, trust_env=False) as front:
        told = eventually(lambda: _with_an_end(scrape(front)), seconds=20)
    assert told.value("oncetune_runs_total", state="completed") == 1
    assert told.value("oncetune_run_queue_seconds_count") == told.value("oncetune_run_duration_seconds_count") == 1
    with psycopg.connect(run.stack.database_url) as connection:
        times = connection.execute("SELECT created_at, started_at, finished_at FROM ledger.run")
        [(created, started, finished)] = times
    assert told.value("oncetune_run_queue_seconds_sum") == pytest.approx((started - created).total_seconds())
    assert told.value("oncetune_run_duration_seconds_sum") == pytest.approx((finished - started).total_seconds())
    with httpx.Client(base_url=run.stack.trainer_url, trust_env=False) as trainer:
        told = scrape(trainer)
    assert told.value("oncetune_training_steps_total") == 4
    assert told.value("oncetune_training_step") is told.value("oncetune_training_loss") is None


def _with_an_end(told: Any) -> Any:
    return told if told.value("oncetune_run_duration_seconds_count") else None
