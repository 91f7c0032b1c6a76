"""Which runs have links: those whose results there are, for whoever may see the run."""

from datetime import timedelta
from uuid import uuid4

import pytest

from oncetune.artifacts.folder import FolderStore
from oncetune.ledger.leases import EndReason, StrikeRule, end_lease
from oncetune.ledger.sweep import retire_results
from oncetune.postgres import transaction
from oncetune.trainer.publishing import keep_log, recorded
from tests.ledger.given import change, claim, record
from tests.serving import signed
from tests.status.artifacts.given import links, staged
from tests.status.given import finish


def test_what_does_not_exist_yet_is_left_out(status, engine, root, tmp_path):
    run_id = record(engine("trigger")).run_id
    assert links(status, run_id) == {}
    lease = claim(engine("trainer"))
    assert links(status, run_id) == {}
    files = recorded(keep_log(FolderStore(root), lease, staged(tmp_path / "staging")))
    assert links(status, run_id) == {}, "nothing is visible before the run has ended"
    finish(engine, lease, state="failed", files=files, error={"code": "no_rows", "message": "Too long"})
    told = links(status, run_id)
    assert told.keys() == {"logs_url", "files", "expires_at"}
    assert status.get(told["logs_url"]).text == "step 1\nstep 2\n"


@pytest.mark.parametrize(("strikes", "there"), [(1, True), (3, False)])
def test_a_run_whose_attempts_ran_out_shows_the_log_of_the_last_one(status, engine, root, tmp_path, strikes, there):
    record(engine("trigger"))
    lease = claim(engine("trainer"))
    files = recorded(keep_log(FolderStore(root), lease, staged(tmp_path / "staging")))
    with transaction(engine("trainer")) as session:
        rule = StrikeRule(max_strikes=strikes)
        end_lease(session, lease.run_id, 1, reason=EndReason.CHILD_DIED, rule=rule, files=files)
    assert ("logs_url" in links(status, lease.run_id)) == there


def test_only_who_may_see_a_run_gets_its_links(status, run_id):
    assert links(status, run_id, user_id="ann", admin=False).keys() == links(status, run_id, user_id="boss").keys()
    others = status.get(f"/runs/{run_id}/artifacts", headers=signed("bob", admin=False))
    unknown = status.get(f"/runs/{uuid4()}/artifacts", headers=signed())
    assert others.status_code == unknown.status_code == 404
    assert others.json() == unknown.json()
    assert status.get(f"/runs/{run_id}/artifacts").status_code == 401


def test_results_that_retention_took_away_have_no_links_and_old_links_say_so(status, engine, run_id):
    url = links(status, run_id)["checkpoint_url"]
    change(engine(None), "UPDATE ledger.run SET finished_at = now() - interval '8 days'")
    with transaction(engine("trainer")) as session:
        assert retire_results(session, limit=10, kept=timedelta(days=7)) == 1
    assert links(status, run_id) == {}
    gone = status.get(url)
    assert (gone.status_code, gone.json()["code"]) == (410, "artifact_removed")
    assert "artifact" not in status.get(f"/runs/{run_id}", headers=signed()).json()
