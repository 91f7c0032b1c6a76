"""What a request gets: one run, the same answer again, or the run that stands in its way."""

import json
import re
from uuid import UUID

from tests.ledger.given import change, rows_of
from tests.serving import signed
from tests.trigger.asked import ROW, ask, document, recorded


def test_a_request_is_answered_with_its_run_which_is_readable_at_once(client, engine):
    answer = ask(client)
    assert answer.status_code == 200
    assert answer.json() == {"run_id": answer.json()["run_id"], "status": "queued"}
    assert "Idempotent-Replayed" not in answer.headers
    UUID(answer.json()["run_id"])
    assert client.get(f"/runs/{answer.json()['run_id']}", headers=signed()).json()["status"] == "queued"
    assert recorded(engine(None)) == {
        "ledger.run": 1, "ledger.outbox": 1, "ledger.request_key": 0, "ledger.dataset": 1, "ledger.dataset_chunk": 1,
    }  # fmt: skip


def test_the_recipe_holds_what_was_asked_and_the_model_that_the_name_stands_for(client, engine):
    asked = document(hyperparameters={"beta": 0.2, "epochs": 3, "loss_type": ["ipo"]})
    assert ask(client, asked).status_code == 200
    [run] = rows_of(engine(None), "SELECT base_model, recipe FROM ledger.run")
    assert run.base_model == "zephyr"
    assert run.recipe["base_model"] == "HuggingFaceH4/zephyr-7b-beta"
    knobs = run.recipe["hyperparameters"]
    assert (knobs["beta"], knobs["epochs"], knobs["loss_type"], knobs["seed"]) == (0.2, 3, ["ipo"], 42)


def test_rows_may_be_conversations_and_null_means_absent(client):
    talk = {
        "prompt": [{"role": "user", "content": "Hello"}],
        "chosen": [{"role": "assistant", "content": "Good day!"}],
        "rejected": [{"role": "assistant", "content": "What?"}],
    }
    assert ask(client, document(dataset_inline=[talk, ROW], dataset_url=None, hyperparameters=None)).status_code == 200


def test_the_same_key_and_body_get_the_first_answer_whatever_happened_since(client, engine):
    first = ask(client, key="k")
    change(engine(None), "UPDATE ledger.run SET state = 'cancelled', finished_at = now()")
    again = ask(client, key="k")
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    assert recorded(engine(None))["ledger.run"] == 1


def test_a_key_belongs_to_its_user(client):
    mine = ask(client, document("a"), key="k")
    theirs = ask(client, document("b"), key="k", headers=signed("bob"))
    assert theirs.status_code == 200
    assert theirs.json()["run_id"] != mine.json()["run_id"]


def test_a_key_that_was_used_with_another_body_is_422(client, engine):
    ask(client, key="k")
    before = recorded(engine(None))
    answer = ask(client, document("other"), key="k")
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert recorded(engine(None)) == before


def test_a_key_that_has_expired_makes_a_new_run(client, engine):
    first = ask(client, key="k")
    change(engine(None), "UPDATE ledger.run SET state = 'cancelled', finished_at = now()")
    change(engine(None), "UPDATE ledger.request_key SET expires_at = now()")
    second = ask(client, key="k")
    assert second.status_code == 200
    assert second.json()["run_id"] != first.json()["run_id"]


def test_a_second_active_run_is_429_and_names_the_first_to_its_owner_only(client, engine):
    first = ask(client).json()["run_id"]
    before = recorded(engine(None))
    own = ask(client, document(exp_name="second"), key="k")
    other = ask(client, headers=signed("bob"))
    for answer in (own, other):
        assert (answer.status_code, answer.json()["code"]) == (429, "run_active")
        assert int(answer.headers["Retry-After"]) > 0
    assert own.json()["run_id"] == first
    assert set(other.json()) == {"detail", "code"}
    assert recorded(engine(None)) == before, "the refused request's key and rows are not kept"


def test_equal_datasets_are_stored_once(client, engine):
    ask(client, document("a"))
    ask(client, document("b"))
    kept = recorded(engine(None))
    assert (kept["ledger.run"], kept["ledger.dataset"], kept["ledger.dataset_chunk"]) == (2, 1, 1)


def test_a_cancel_ends_a_queued_run_and_answers_the_same_way_again(client, engine):
    run_id = ask(client).json()["run_id"]
    for _ in range(2):
        answer = client.post(f"/runs/{run_id}/cancel", headers=signed())
        assert (answer.status_code, answer.json()) == (200, {"run_id": run_id, "status": "cancelled"})
    types = [row.type for row in rows_of(engine(None), "SELECT type FROM ledger.outbox ORDER BY position")]
    assert types == ["run.requested", "run.cancelled"]
    assert ask(client, document(exp_name="next")).status_code == 200, "the kb_id is free again"


def test_a_cancel_of_nothing_is_404_and_needs_an_admin(client):
    for run_id in ("00000000-0000-7000-8000-000000000000", "not-a-uuid", "%00"):
        answer = client.post(f"/runs/{run_id}/cancel", headers=signed())
        assert (answer.status_code, answer.json()["code"]) == (404, "run_not_found")
    assert client.post("/runs/x/cancel").status_code == 401


def test_the_trace_of_the_caller_is_kept_with_the_run(client, engine):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ask(client, headers=signed() | {"traceparent": trace})
    ask(client, document("b"), headers=signed() | {"traceparent": b"\xff broken"})
    ask(client, document("c"))
    kept = rows_of(engine(None), "SELECT traceparent FROM ledger.outbox ORDER BY occurred_at")
    first, *made = [row.traceparent for row in kept]
    assert first == trace
    assert len(set(made)) == 2, "who brings none, or none that can be read, gets a new one"
    assert all(re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", one) for one in made)


def test_the_published_event_names_the_dataset_and_never_holds_its_text(client, engine):
    ask(client)
    [event] = rows_of(engine(None), "SELECT payload FROM ledger.outbox")
    assert event.payload["dataset_rows"] == 1
    assert ROW["prompt"] not in json.dumps(event.payload)
