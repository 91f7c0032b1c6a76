import time
from uuid import UUID, uuid4

import pytest

from oncetune.contracts.progress import Progress
from oncetune.ledger.leases import EndReason, StrikeRule, end_lease, renew_lease
from oncetune.ledger.requests import request_cancel
from oncetune.postgres import transaction
from tests.ledger.given import ROWS, change, claim, record
from tests.serving import signed
from tests.status.given import finish

SHA256 = "ab" * 32


def end(engine, lease, reason, *, rule=StrikeRule(), **told) -> None:  # noqa: B008 - it is frozen
    with transaction(engine("trainer")) as session:
        end_lease(session, lease.run_id, lease.attempt, reason=reason, rule=rule, **told)


def test_a_run_is_readable_as_soon_as_it_is_recorded_and_leaves_out_what_is_not_known_yet(status, engine):
    run_id = record(engine("trigger")).run_id
    run = status.get(f"/runs/{run_id}").json()
    assert abs(run.pop("created_at") - time.time()) < 60
    assert run == {
        "run_id": str(run_id),
        "status": "queued",
        "kb_id": "kb",
        "exp_name": "experiment",
        "base_model": "zephyr",
        "attempt": 0,
        "strikes": 0,
        "dataset": {"sha256": ROWS.sha256, "rows": 1},
    }


def test_a_running_run_shows_its_newest_progress_and_an_ended_one_does_not(status, engine):
    record(engine("trigger"))
    lease = claim(engine("trainer"))
    with transaction(engine("trainer")) as session:
        renew_lease(session, lease, progress=Progress(step=3, steps=10, loss=0.25), as_event=False)
    run = status.get(f"/runs/{lease.run_id}").json()
    assert (run["status"], run["attempt"], run["progress"]["step"], run["progress"]["loss"]) == ("running", 1, 3, 0.25)
    assert isinstance(run["started_at"], int) and "finished_at" not in run
    finish(engine, lease, state="failed", error={"code": "no_rows", "message": "Every row was too long"})
    run = status.get(f"/runs/{lease.run_id}").json()
    assert run["status"] == "failed" and "progress" not in run and "artifact" not in run
    assert run["error"] == {"code": "no_rows", "message": "Every row was too long"}


def test_a_completed_run_shows_metrics_times_and_where_its_adapter_lies(status, engine):
    record(engine("trigger"))
    lease = claim(engine("trainer"))
    finish(engine, lease, state="completed", metrics={"loss": 0.1}, artifact_uri="file:///a", adapter_sha256=SHA256)
    run = status.get(f"/runs/{lease.run_id}").json()
    assert (run["status"], run["metrics"]) == ("completed", {"loss": 0.1})
    assert run["artifact"] == {"uri": "file:///a", "sha256": SHA256}
    assert isinstance(run["finished_at"], int) and run["finished_at"] >= run["started_at"] > 1_600_000_000


def test_a_run_shows_its_newest_checkpoint_until_it_has_its_result(status, engine):
    run_id = record(engine("trigger")).run_id
    shown = lambda: status.get(f"/runs/{run_id}").json().get("checkpoint")  # noqa: E731
    lease = claim(engine("trainer"))
    with transaction(engine("trainer")) as session:
        renew_lease(session, lease, progress=Progress(step=12, steps=60, checkpoint_step=10), as_event=False)
    assert shown() == {"step": 10}
    with transaction(engine("trainer")) as session:
        renew_lease(session, lease, progress=Progress(step=13, steps=60), as_event=False)
    assert shown() == {"step": 10}, "what was kept stays kept"
    end(engine, lease, EndReason.RELEASED, checkpoint_step=14)
    assert shown() == {"step": 14}, "while it waits, too"
    lease = claim(engine("trainer"))
    assert shown() == {"step": 14}
    finish(engine, lease, state="completed", metrics={}, artifact_uri="file:///a", adapter_sha256=SHA256)
    assert shown() is None


def test_a_run_whose_training_begins_anew_shows_no_checkpoint_from_its_first_word_on(status, engine):
    run_id = record(engine("trigger")).run_id
    shown = lambda: status.get(f"/runs/{run_id}").json().get("checkpoint")  # noqa: E731
    for goes_on_from, told in ((None, None), (14, {"step": 14}), (10, {"step": 10}), (None, None)):
        lease = claim(engine("trainer"))
        before = shown()
        for word in (None, Progress(phase="fetching"), Progress(phase="checking")):
            with transaction(engine("trainer")) as session:
                renew_lease(session, lease, progress=word, as_event=False)
            assert shown() == before, "nothing is known yet"
        word = Progress(phase="loading", checkpoint_step=goes_on_from)
        with transaction(engine("trainer")) as session:
            renew_lease(session, lease, progress=word, as_event=False)
        assert shown() == told
        end(engine, lease, EndReason.RELEASED)
        assert shown() == told


@pytest.mark.parametrize(("strikes", "state", "kept"), [(1, "failed", None), (2, "queued", {"step": 10})])
def test_a_run_that_failed_for_good_has_no_checkpoint(status, engine, strikes, state, kept):
    run_id = record(engine("trigger")).run_id
    lease = claim(engine("trainer"))
    end(engine, lease, EndReason.CHILD_DIED, checkpoint_step=10, rule=StrikeRule(max_strikes=strikes))
    run = status.get(f"/runs/{run_id}").json()
    assert (run["status"], run.get("checkpoint")) == (state, kept)


def test_a_cancelled_run_shows_its_last_checkpoint(status, engine):
    run_id = record(engine("trigger")).run_id
    lease = claim(engine("trainer"))
    with transaction(engine("trigger")) as session:
        request_cancel(session, run_id, requested_by="ann")
    end(engine, lease, EndReason.CANCELLED, checkpoint_step=10)
    run = status.get(f"/runs/{run_id}").json()
    assert (run["status"], run["checkpoint"]) == ("cancelled", {"step": 10})


def test_a_caller_sees_only_its_own_runs_and_an_admin_sees_all(status, engine):
    run_id = record(engine("trigger"), user_id="ann").run_id
    for path in ("/runs/{}", "/runs/{}/events"):
        assert status.get(path.format(run_id), headers=signed("ann", admin=False)).status_code == 200
        assert status.get(path.format(run_id), headers=signed("boss", admin=True)).status_code == 200
        others = status.get(path.format(run_id), headers=signed("bob", admin=False))
        unknown = status.get(path.format(uuid4()))
        malformed = status.get(path.format("%00'--"))
        assert others.status_code == unknown.status_code == malformed.status_code == 404
        assert others.json() == unknown.json() == malformed.json()  # nothing tells that the run exists
        assert others.json()["code"] == "run_not_found"


def test_reading_needs_a_valid_signature(status):
    missing = {"detail": "Missing authentication headers", "code": "missing_authentication"}
    forged = signed(secret="another secret, long enough")
    status.headers.clear()
    for path in ("/runs", f"/runs/{uuid4()}", f"/runs/{uuid4()}/events"):
        assert status.get(path, headers=forged).status_code == 401
        assert status.get(path).json() == missing


def test_runs_are_listed_newest_first_with_filters_and_only_the_callers_own(status, engine):
    ids = [str(record(engine("trigger"), f"kb{n}", user_id="ann" if n else "bob").run_id) for n in range(4)]
    lease = claim(engine("trainer"), run_id=UUID(ids[3]))

    def listed(query: str = "", **caller) -> list[str]:
        answer = status.get(f"/runs{query}", headers=signed(**caller))
        assert answer.status_code == 200
        return [run["run_id"] for run in answer.json()["runs"]]

    assert lease and listed() == ids[::-1]
    assert listed(user_id="ann", admin=False) == ids[:0:-1]
    assert listed("?limit=2") == [ids[3], ids[2]]
    assert listed("?status=running") == [ids[3]]
    assert listed("?kb_id=kb1") == [ids[1]]
    assert listed("?kb_id=kb1&status=running") == []


def test_pages_of_runs_follow_one_another_without_a_gap_or_a_double_while_new_runs_come(status, engine):
    ids = [str(record(engine("trigger"), f"kb{n}").run_id) for n in range(5)]
    change(engine(None), "UPDATE ledger.run SET created_at = now()")  # of one moment: the id decides
    expected = [run["run_id"] for run in status.get("/runs").json()["runs"]]
    assert sorted(expected) == sorted(ids)
    seen, cursor = [], {}
    for _ in range(3):
        page = status.get("/runs", params={"limit": 2} | cursor).json()
        seen += [run["run_id"] for run in page["runs"]]
        cursor = {"cursor": page.get("next_cursor")}
        record(engine("trigger"), f"later{len(seen)}")
    assert seen == expected
    assert "next_cursor" not in page


def test_runs_are_filtered_by_experiment(status, engine):
    record(engine("trigger"), "kb")
    assert [len(status.get(f"/runs?exp_name={name}").json()["runs"]) for name in ("experiment", "other")] == [1, 0]


def test_a_bad_filter_is_a_400_that_names_it(status):
    for query in (
        "limit=0",
        "limit=201",
        "limit=x",
        "status=succeeded",
        "cursor=x",
        "cursor=bm8",
        "cursor=",
        "kb_id=",
        "kb_id=%00",
    ):
        answer = status.get(f"/runs?{query}")
        assert answer.status_code == 400, query
        assert answer.json()["code"] in ("invalid_request", "invalid_cursor")
        assert answer.json()["detail"].startswith(f"{query.split('=')[0]}: "), "its name alone, no type of ours"
