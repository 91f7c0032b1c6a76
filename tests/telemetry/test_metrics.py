"""`/metrics` of real services on a real database."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from oncetune.contracts.topics import DEAD_LETTER_ROUTE, ROUTE, RUN_LIFECYCLE, RUN_REQUESTED
from oncetune.ledger.leases import finish_run
from oncetune.ledger.outbox import Pace, take_events
from oncetune.postgres import transaction
from tests.deadline import eventually
from tests.ledger.given import change, claim, record
from tests.outage import database_away
from tests.serving import serving, signed
from tests.status.given import FROM_SIDECAR, bulk, progress_event
from tests.telemetry.scraped import scrape

REPOSITORY = Path(__file__).parents[2]
OF_DATABASE = {
    "oncetune_runs_active", "oncetune_outbox_pending", "oncetune_outbox_oldest_seconds", "oncetune_dead_letters"
}  # fmt: skip
NO_METRICS = re.compile(r"oncetune_(trigger|status|trainer|services)\b")  # roles of the database, names of images


def deliver(status, *events, route=ROUTE[RUN_LIFECYCLE]):
    answer = status.post(route, content=bulk(*events), headers=FROM_SIDECAR)
    assert answer.status_code == 200


def grown(before, after, name, **labels):
    return after.value(name, **labels) - (before.value(name, **labels) or 0)


def handed_over(engine):
    """Every event of the outbox, as the relay sends them."""
    with transaction(engine("trigger")) as session:
        return [event.document for event in take_events(session, Pace())]


def test_what_the_database_holds_is_told_the_same_by_each_replica_of_status_and_by_nobody_else(
    monkeypatch, database_url, engine, status, trainer
):
    for kb_id in ("first", "second", "third"):
        record(engine("trigger"), kb_id)
    eventually(lambda: scrape(trainer).value("oncetune_training_step"))
    for letter in (b"{}", b"broken", b"broken"):
        status.post(DEAD_LETTER_ROUTE[RUN_REQUESTED], content=letter, headers=FROM_SIDECAR)
    with serving(monkeypatch, "status", database_url=database_url) as replica:
        for told in (scrape(status), scrape(replica)):
            assert told.value("oncetune_runs_active", state="queued") == 2
            assert told.value("oncetune_runs_active", state="running") == 1
            assert told.value("oncetune_dead_letters") == 2
            assert told.value("oncetune_outbox_pending") == 4
    assert not scrape(trainer).names() & OF_DATABASE


def test_the_outbox_is_told_with_the_age_of_its_oldest_event(engine, status):
    assert scrape(status).value("oncetune_outbox_oldest_seconds") == 0
    for kb_id in ("first", "second"):
        record(engine("trigger"), kb_id)
    change(
        engine(None), "UPDATE ledger.outbox SET occurred_at = now() - interval '90 s' WHERE payload->>'kb_id' = 'first'"
    )
    told = scrape(status)
    assert told.value("oncetune_outbox_pending") == 2
    assert 90 <= told.value("oncetune_outbox_oldest_seconds") < 120


def test_a_dead_letter_that_was_decided_about_is_open_no_more(status):
    letters = DEAD_LETTER_ROUTE[RUN_REQUESTED]
    for letter in (b"one", b"two"):
        status.post(letters, content=letter, headers=FROM_SIDECAR)
    assert scrape(status).value("oncetune_dead_letters") == 2
    [one, _] = status.get("/dead-letters", headers=signed()).json()["dead_letters"]
    path = f"/dead-letters/{one['id']}/discard"
    assert status.post(path, headers=signed()).status_code == 200
    assert scrape(status).value("oncetune_dead_letters") == 1


def test_a_database_that_is_away_takes_its_numbers_and_leaves_the_scrape(status, administer, database_url):
    assert scrape(status).names() >= OF_DATABASE
    with database_away(administer, database_url):
        told = scrape(status)
    assert not told.names() & OF_DATABASE
    assert told.names() >= {"oncetune_build_info", "oncetune_events_processed_total", "process_resident_memory_bytes"}
    assert scrape(status).names() >= OF_DATABASE


def test_a_database_that_hangs_costs_scrapes_two_seconds_and_deliveries_nothing(status, engine):
    event = progress_event()
    with engine(None).begin() as connection:
        connection.execute(text("LOCK TABLE ledger.outbox IN ACCESS EXCLUSIVE MODE"))
        with ThreadPoolExecutor(20) as scrapers:
            asked = [scrapers.submit(scrape, status) for _ in range(20)]
            deliver(status, event)  # all twenty wait, and have no thread of the routes
            waiting = [one for one in asked if not one.done()]
            told = [one.result(10) for one in asked]
    assert waiting
    assert not any(one.names() & OF_DATABASE for one in told)
    assert scrape(status).names() >= OF_DATABASE


def test_deliveries_are_counted_by_their_outcome_and_the_lag_once_an_event(status):
    where = {"service": "status", "topic": RUN_LIFECYCLE}
    before = scrape(status)
    event = progress_event()
    deliver(status, event, event, "AAEC")
    deliver(status, event | {"data": {**event["data"], "loss": 0.1}})
    status.post(ROUTE[RUN_LIFECYCLE], content=json.dumps(event), headers=FROM_SIDECAR)  # alone
    after = scrape(status)
    outcomes = ("ok", "duplicate", "invalid", "conflict")
    counted = "oncetune_events_processed_total"
    assert [grown(before, after, counted, outcome=one, **where) for one in outcomes] == [1, 2, 1, 1]
    assert grown(before, after, "oncetune_event_lag_seconds_count", **where) == 1
    assert 0 <= grown(before, after, "oncetune_event_lag_seconds_sum", **where) < 10


def test_a_delivery_that_finds_no_database_is_counted_as_a_retry_and_has_no_lag(status, administer, database_url):
    where = {"service": "status", "topic": RUN_LIFECYCLE}
    deliver(status, progress_event())
    before = scrape(status)
    with database_away(administer, database_url):
        deliver(status, progress_event(), "AAEC")
        status.post(DEAD_LETTER_ROUTE[RUN_LIFECYCLE], content=b"a letter", headers=FROM_SIDECAR)
    after = scrape(status)
    counted = "oncetune_events_processed_total"
    assert [grown(before, after, counted, outcome=one, **where) for one in ("ok", "retry", "invalid")] == [0, 2, 1]
    assert grown(before, after, "oncetune_event_lag_seconds_count", **where) == 0


def test_an_event_whose_time_makes_no_sense_is_journalled_and_has_no_lag(status):
    where = {"service": "status", "topic": RUN_LIFECYCLE}
    before = scrape(status).value("oncetune_event_lag_seconds_count", **where) or 0
    for time in ("yesterday", "2026-11-21T00:00:00", None, 7, "0001-01-01T00:00:00+23:59"):
        deliver(status, progress_event() | {"time": time})
    after = scrape(status)
    assert after.value("oncetune_events_processed_total", outcome="ok", **where) >= 5
    assert after.value("oncetune_event_lag_seconds_count", **where) == before + 1, "the year 1 is a time"


def test_the_end_of_a_run_is_counted_once_however_often_it_is_told(engine, status):
    before = scrape(status)
    record(engine("trigger"))
    lease = claim(engine("trainer"))
    change(engine(None), "UPDATE ledger.run SET created_at = created_at - interval '100 s'")
    with transaction(engine("trainer")) as session:
        finish_run(session, lease, event_id=uuid4(), state="failed", error={"code": "bad", "message": "bad"})
    change(engine(None), "UPDATE ledger.run SET finished_at = started_at + interval '1000 s'")
    events = handed_over(engine)
    assert len(events) == 3
    for _ in range(3):
        deliver(status, *events, *events)
    after = scrape(status)
    ended = "oncetune_runs_total"
    assert after.value(ended, state="failed") == before.value(ended, state="failed") + 1
    assert after.value(ended, state="completed") == before.value(ended, state="completed")
    for name, seconds in (("queue", 100), ("duration", 1000)):
        count, total = (f"oncetune_run_{name}_seconds_{kind}" for kind in ("count", "sum"))
        assert after.value(count) == before.value(count) + 1
        assert after.value(total) - before.value(total) == pytest.approx(seconds, abs=10)


def test_a_run_that_was_cancelled_before_it_started_has_an_end_and_no_times(monkeypatch, database_url, engine):
    with serving(monkeypatch, "trigger", "status", database_url=database_url) as client:
        before = scrape(client)
        run_id = record(engine("trigger")).run_id
        assert client.post(f"/runs/{run_id}/cancel", headers=signed()).status_code == 200
        ended = lambda: scrape(client).value("oncetune_runs_total", state="cancelled")  # noqa: E731
        eventually(lambda: ended() == before.value("oncetune_runs_total", state="cancelled") + 1)
        count = "oncetune_run_duration_seconds_count"
        assert scrape(client).value(count) == before.value(count)


def test_requests_are_counted_under_the_template_of_their_route(status):
    before = scrape(status)
    for path in (f"/runs/{uuid4()}", f"/runs/{uuid4()}", "/no/such/thing", "/nor/this"):
        status.get(path, headers=signed())
    status.request("BREW", "/coffee")
    status.post("/events/run-lifecycle", content=b"")  # without its token
    after = scrape(status)

    def count(method, route, code):
        where = {"service": "status", "method": method, "route": route, "status": code}
        return grown(before, after, "oncetune_http_requests_total", **where)

    assert count("GET", "/runs/{run_id}", "404") == 2
    assert count("GET", "unmatched", "404") == 2
    assert count("other", "unmatched", "404") == 1
    assert count("POST", "unmatched", "401") == 1
    where = {"service": "status", "method": "GET", "route": "/runs/{run_id}"}
    assert grown(before, after, "oncetune_http_request_duration_seconds_count", **where) == 2


def test_a_trainer_tells_the_run_in_work_and_nothing_of_it_afterwards(trainer, engine, tmp_path):
    before = scrape(trainer).value("oncetune_training_steps_total")
    assert scrape(trainer).value("oncetune_training_step") is None
    record(engine("trigger"))
    told = eventually(lambda: (now := scrape(trainer)).value("oncetune_training_step") == 1 and now)
    assert told.value("oncetune_training_loss") == 1
    (tmp_path / "control" / "go").touch()
    told = eventually(lambda: (now := scrape(trainer)).value("oncetune_training_step") is None and now)
    assert told.value("oncetune_training_loss") is None
    assert told.value("oncetune_training_steps_total") == before + 4
    assert told.value("oncetune_db_pool_in_use", service="trainer", pool="trainer") is not None


def test_each_metric_says_how_to_add_it_up(status):
    text = status.get("/metrics").text
    described = re.findall(r"^# HELP (oncetune_\w+) (.+)$", text, re.MULTILINE)
    for name, sentence in described:
        adds_up = "max, never the sum" if name in OF_DATABASE else "sum over the replicas"
        assert adds_up in sentence or name == "oncetune_build_info", name


def test_an_openmetrics_scraper_gets_what_it_asks_for(status):
    answer = status.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_every_metric_that_a_rule_or_a_dashboard_names_is_there(monkeypatch, database_url, trainer, engine):
    with serving(monkeypatch, "trigger", "status", database_url=database_url) as front:
        record(engine("trigger"))
        eventually(lambda: scrape(trainer).value("oncetune_training_loss"))
        families = set(
            re.findall(r"^# TYPE (\w+) ", front.get("/metrics").text + trainer.get("/metrics").text, re.MULTILINE)
        )
    suffixes = ("", "_bucket", "_count", "_sum")
    known = {name + suffix for name in families for suffix in suffixes}
    files = [path for root in ("helm", "k8s") for path in (REPOSITORY / root).rglob("*") if path.is_file()]
    named = {
        (name, str(path.relative_to(REPOSITORY)))
        for path in files
        for name in re.findall(r"\boncetune_[a-z_]+", path.read_text(encoding="utf-8", errors="replace"))
        if not NO_METRICS.fullmatch(name)
    }
    assert {(name, path) for name, path in named if name not in known} == set()
    table = re.findall(r"^\| `oncetune_.*$", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
    documented = {name for row in table for name in re.findall(r"`(oncetune_\w+)", row)}
    assert documented == {name for name in families if name.startswith("oncetune_")}
