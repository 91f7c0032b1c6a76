"""What a run learned from, and how to do it again, as far as the caller may know."""

import json
from uuid import UUID

import pytest

from oncetune.contracts.manifest import Manifest
from oncetune.contracts.preferences import PreferencePair
from oncetune.contracts.quality import Finding, QualityReport
from oncetune.datasets.packing import pack_rows
from oncetune.ledger.datasets import store_fetched_dataset, store_quality
from oncetune.postgres import transaction
from tests.ledger.given import ADAPTER, ROWS, SHOWN_URL, change, claim, record, record_url
from tests.serving import signed
from tests.status.given import finish

TWO = [PreferencePair(prompt=f"{n}?", chosen="Yes.", rejected="No.") for n in range(2)]
MANIFEST = Manifest(
    run_id="r",
    dataset_sha256=ROWS.sha256,
    dataset_rows=1,
    base_model="toy",
    base_model_revision="r1",
    hyperparameters={"beta": 0.1, "max_steps": None},
    quality_gate="warn",
    seed=42,
    packages={"trl": "1"},
    python="3.12",
    platform="Linux",
    device="cpu",
    device_kind="cpu",
    precision="float32",
    code_version="1",
    code_sha256="ab" * 32,
    weights_sha256="cd" * 32,
)


def completed(engine, kb_id: str, user_id: str = "ann", rows=ROWS) -> UUID:
    run_id = record(engine("trigger"), kb_id, user_id=user_id, rows=rows).run_id
    finish(engine, claim(engine("trainer"), run_id=run_id), state="completed", **ADAPTER)
    return run_id


def test_an_inline_dataset_tells_its_fingerprints_and_its_size_at_once(status, engine):
    run_id = record(engine("trigger")).run_id
    assert status.get(f"/runs/{run_id}/dataset").json() == {
        "source": "inline",
        "format": ROWS.format,
        "sha256": ROWS.sha256,
        "set_sha256": ROWS.set_sha256,
        "rows": 1,
        "bytes": ROWS.byte_count,
        "trained_before": [],
    }


def test_a_dataset_of_a_url_tells_what_is_no_secret_of_it_until_it_is_stored_and_then_the_rest(status, engine):
    run_id = record_url(engine("trigger"))
    assert status.get(f"/runs/{run_id}/dataset").json() == {"source": "url", "url": SHOWN_URL}
    assert "dataset" not in status.get(f"/runs/{run_id}").json()
    lease = claim(engine("trainer"))
    with transaction(engine("trainer")) as session:
        store_fetched_dataset(session, lease, ROWS)
    told = status.get(f"/runs/{run_id}/dataset").json()
    assert (told["source"], told["url"], told["sha256"], told["rows"]) == ("url", SHOWN_URL, ROWS.sha256, 1)
    assert status.get(f"/runs/{run_id}").json()["dataset"] == {"sha256": ROWS.sha256, "rows": 1}


def test_the_quality_report_is_told_once_it_was_made(status, engine):
    run_id = record(engine("trigger")).run_id
    finding = Finding(code="empty_turn", level="warning", count=1, message="One turn is empty", lines=(1,))
    report = QualityReport(rows=1, findings=(finding,), numbers={"x": 0.5})
    with transaction(engine("trainer")) as session:
        store_quality(session, claim(engine("trainer")), report)
    told = status.get(f"/runs/{run_id}/dataset").json()["quality"]
    assert QualityReport.model_validate(told) == report
    assert "example" not in told["findings"][0], "what is not there is left out"


def test_the_runs_that_trained_on_the_same_set_before_are_told_newest_first_whatever_their_order_of_rows(
    status, engine
):
    first, second = completed(engine, "a", rows=pack_rows(TWO)), completed(engine, "b", rows=pack_rows(TWO[::-1]))
    other, failed = completed(engine, "c"), record(engine("trigger"), "d", rows=pack_rows(TWO)).run_id
    finish(engine, claim(engine("trainer"), run_id=failed), state="failed", error={"code": "x", "message": "x"})
    third = record(engine("trigger"), "e", rows=pack_rows(TWO)).run_id

    def before(run_id: UUID) -> list[str]:
        return status.get(f"/runs/{run_id}/dataset").json()["trained_before"]

    assert before(third) == [str(second), str(first)]
    assert before(second) == [str(first)], "later runs did not train before"
    assert before(first) == before(other) == []


def test_a_caller_is_told_of_its_own_runs_only_and_an_admin_of_all(status, engine):
    theirs, own = completed(engine, "a", "bob"), completed(engine, "b")
    run_id = record(engine("trigger"), "c").run_id
    assert status.get(f"/runs/{run_id}/dataset").json()["trained_before"] == [str(own), str(theirs)]
    ann, bob = signed("ann", admin=False), signed("bob", admin=False)
    assert status.get(f"/runs/{run_id}/dataset", headers=ann).json()["trained_before"] == [str(own)]
    for path in ("dataset", "manifest"):
        assert status.get(f"/runs/{run_id}/{path}", headers=bob).json()["code"] == "run_not_found"
        assert status.get(f"/runs/not-a-uuid/{path}").status_code == 404
        assert status.get(f"/runs/{run_id}/{path}", headers={"X-Novalto-Signature": "x"}).status_code == 401


def test_a_dataset_that_was_stored_without_its_sets_fingerprint_says_nothing_of_runs_before(status, engine):
    run_id = record(engine("trigger")).run_id
    change(engine(None), "UPDATE ledger.dataset SET set_sha256 = NULL")
    told = status.get(f"/runs/{run_id}/dataset").json()
    assert "set_sha256" not in told and "trained_before" not in told


def test_the_manifest_is_there_whole_once_the_run_completed(status, engine):
    run_id = record(engine("trigger")).run_id
    early = status.get(f"/runs/{run_id}/manifest")
    assert (early.status_code, early.json()["code"]) == (404, "manifest_not_ready")
    assert "when the run completes" in early.json()["detail"]
    finish(engine, claim(engine("trainer")), state="completed", **ADAPTER)
    assert "ended without one" in status.get(f"/runs/{run_id}/manifest").json()["detail"]
    kept = json.dumps(MANIFEST.model_dump(mode="json") | {"a_field_of": "a later version"})
    change(engine(None), "UPDATE ledger.run SET manifest = CAST(:manifest AS jsonb)", manifest=kept)
    told = status.get(f"/runs/{run_id}/manifest").json()
    assert Manifest.model_validate(told) == MANIFEST
    assert told["hyperparameters"]["max_steps"] is None and "parent_run_id" not in told


@pytest.mark.parametrize("parent", [None, "0199f2b0-11aa-7c3d-8e4f-0a1b2c3d4e5f"])
def test_a_run_names_the_run_that_it_repeats(status, engine, parent):
    run_id = record(engine("trigger")).run_id
    change(engine(None), "UPDATE ledger.run SET parent_run_id = CAST(:parent AS uuid)", parent=parent)
    assert status.get(f"/runs/{run_id}").json().get("parent_run_id") == parent
