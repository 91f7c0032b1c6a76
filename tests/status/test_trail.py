"""What the trail of a run tells over HTTP."""

import json

from sqlalchemy import text

from oncetune.contracts.envelope import open_envelope
from oncetune.contracts.topics import RUN_LIFECYCLE
from oncetune.ledger.outbox import Pace, take_events
from oncetune.postgres import transaction
from oncetune.status.intake import journal, store_dead_letter
from tests.ledger.given import claim, record
from tests.status.given import finish, progress_event, publish_all

SHA256 = "ab" * 32


def test_the_trail_tells_what_happened_what_was_dropped_and_what_is_on_its_way(status, engine):
    run_id = record(engine("trigger")).run_id
    path = f"/runs/{run_id}/events"
    first = status.get(path).json()
    assert (first["events"], first["gapless"], first["duplicates"], first["pending"]) == ([], True, 0, 1)
    lease = claim(engine("trainer"))
    for _ in range(2):
        events = publish_all(engine)
    finish(engine, lease, state="completed", metrics={}, artifact_uri="file:///a", adapter_sha256=SHA256)
    trail = status.get(path).json()
    assert [(event["position"], event["type"]) for event in trail["events"]] == [
        (1, "run.requested"),
        (2, "run.started"),
    ]
    assert (trail["gapless"], trail["duplicates"], trail["pending"]) == (True, 2, 1)
    assert trail["events"][0]["event_id"] == str(min(events, key=lambda event: event.position).event_id)
    assert trail["events"][1]["data"]["worker"] == "worker"
    assert trail["events"][0]["occurred_at"] < trail["events"][0]["received_at"]
    publish_all(engine)
    trail = status.get(path).json()
    assert (len(trail["events"]), trail["gapless"], trail["duplicates"], trail["pending"]) == (3, True, 4, 0)


def test_a_forged_event_that_came_first_is_a_conflict_of_the_trail_and_the_true_one_stays_pending(status, engine):
    run_id = record(engine("trigger")).run_id
    with transaction(engine("trigger")) as session:
        [true] = take_events(session, Pace())
    forged = true.document | {"data": true.document["data"] | {"user_id": "mallory"}}
    for document in (forged, true.document):
        journal(engine("status"), RUN_LIFECYCLE, [open_envelope(document)])
    trail = status.get(f"/runs/{run_id}/events").json()
    assert (trail["conflicts"], trail["pending"]) == (1, 1)


def test_the_trail_tells_how_many_deliveries_of_the_run_came_back_as_dead_letters(status, engine):
    run_id, other = (record(engine("trigger"), f"kb{n}").run_id for n in range(2))
    for body in ({}, {"step": 3}, {"type": "no event"}):
        letter = json.dumps(progress_event(run_id) | body).encode()
        assert store_dead_letter(engine("status"), RUN_LIFECYCLE, letter) == "SUCCESS"
    journal(engine("status"), RUN_LIFECYCLE, [open_envelope(progress_event(run_id))] * 2)
    told = [status.get(f"/runs/{one}/events").json() for one in (run_id, other)]
    assert [(trail["dead_letters"], trail["duplicates"]) for trail in told] == [(3, 1), (0, 0)]


def test_a_hole_a_double_and_a_lost_end_of_the_trail_are_visible(status, engine):
    hole, double, end = (record(engine("trigger"), f"kb{n}").run_id for n in range(3))
    journal(engine("status"), RUN_LIFECYCLE, [open_envelope(progress_event(hole, position=2))])
    publish_all(engine)
    journal(engine("status"), RUN_LIFECYCLE, [open_envelope(progress_event(double, position=1))])
    with engine(None).begin() as connection:
        connection.execute(text("ALTER TABLE audit.journal DISABLE TRIGGER USER"))
        connection.execute(text("DELETE FROM audit.journal WHERE position = 1 AND run_id <> :id"), {"id": double})
        connection.execute(text("UPDATE ledger.outbox SET confirmed_at = now()"))
    for run_id in (hole, double, end):
        assert status.get(f"/runs/{run_id}/events").json()["gapless"] is False
