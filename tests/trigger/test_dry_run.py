"""`?dry_run=true` judges a request as the real one is judged, and nothing is left of it."""

import pytest

from oncetune.datasets.packing import pack_rows
from oncetune.datasets.rows import validate_rows
from tests.serving import signed
from tests.trigger.asked import ROW, ask, document, recorded


@pytest.fixture
def unrecorded(client, engine):
    """A client of a service whose ledger is still empty after the test."""
    yield client
    assert set(recorded(engine(None)).values()) == {0}


def test_a_dry_run_tells_what_would_be_trained_and_records_nothing(unrecorded):
    answer = ask(unrecorded, document(dataset_inline=[ROW, ROW | {"prompt": "Second?"}]), key="k", dry_run="true")
    packed = pack_rows(validate_rows([ROW, ROW | {"prompt": "Second?"}]))
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "valid",
        "dataset_rows": 2,
        "base_model": "HuggingFaceH4/zephyr-7b-beta",
        "dataset_sha256": packed.sha256,
    }
    assert "Idempotent-Replayed" not in answer.headers


@pytest.mark.parametrize(("change", "code"), [
    ({"kb_id": ""}, "invalid_request"),
    ({"base_model": "gpt-7"}, "unknown_base_model"),
    ({"algo": "ppo"}, "unknown_algo"),
    ({"hyperparameters": {"beta": 0}}, "invalid_hyperparameters"),
    ({"dataset_inline": [ROW, {}]}, "invalid_dataset"),
    ({"dataset_inline": None}, "one_dataset"),
])  # fmt: skip
def test_a_dry_run_refuses_what_the_request_itself_would_be_refused_for(unrecorded, change, code):
    answer = ask(unrecorded, document(**change), dry_run="true")
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert answer.json() == ask(unrecorded, document(**change)).json()


@pytest.mark.parametrize(("headers", "status", "code"), [
    ({}, 401, "missing_authentication"),
    (signed(secret="another secret of somebody"), 401, "bad_signature"),
    (signed(admin=False), 403, "admin_required"),
    (signed() | {"Idempotency-Key": ""}, 400, "invalid_idempotency_key"),
])  # fmt: skip
def test_a_dry_run_needs_the_same_headers(unrecorded, headers, status, code):
    answer = ask(unrecorded, headers=headers, dry_run="true")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_dry_run_that_is_neither_true_nor_false_is_400_and_no_run(unrecorded):
    for word in ("", "ture", "2", "null"):
        answer = ask(unrecorded, dry_run=word)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
        assert "dry_run" in answer.json()["detail"]


def test_a_dry_run_takes_no_key_and_no_knowledge_base(client):
    assert ask(client, key="k", dry_run="true").status_code == 200
    first = ask(client, key="k", dry_run="false")
    assert (first.status_code, first.json()["status"]) == (200, "queued")
    assert "Idempotent-Replayed" not in first.headers
    assert ask(client, key="k", dry_run="true").json()["status"] == "valid", "nor does an active run stand in its way"


def test_the_fingerprint_of_a_dry_run_is_that_of_the_run(client, engine):
    told = ask(client, dry_run="true").json()["dataset_sha256"]
    assert ask(client).status_code == 200
    with engine(None).connect() as connection:
        kept = connection.exec_driver_sql("SELECT recipe ->> 'dataset_sha256' FROM ledger.run").scalar_one()
    assert kept == told
