"""The same through a real server: header bytes as a socket carries them, and the shape of every refusal."""

import json
import socket
from contextlib import suppress

import pytest
from sqlalchemy import text

from oncetune.gateway.claims import sign
from tests.serving import SECRET, serving, signed

RUN = "/runs/00000000-0000-7000-8000-000000000000"


@pytest.fixture
def client(monkeypatch, database_url):
    with serving(monkeypatch, "trigger", "status", database_url=database_url) as client:
        yield client


def _raw(client, *headers: bytes) -> tuple[int, bytes]:
    """The status and the body that one hand-written request gets; 400 when the server hung up on it."""
    with socket.create_connection((client.base_url.host, client.base_url.port), 10) as line:
        request = [b"GET " + RUN.encode() + b" HTTP/1.1", b"Host: test", b"Connection: close", *headers, b"", b""]
        answer = b""
        with suppress(ConnectionError):
            line.sendall(b"\r\n".join(request))
            while piece := line.recv(65536):
                answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 400, body


def test_a_good_signature_reaches_the_route_and_a_bad_one_does_not(client):
    assert client.get(RUN, headers=signed()).status_code == 404
    answer = client.get(RUN, headers=signed(secret="another secret of somebody"))
    assert (answer.status_code, set(answer.json())) == (401, {"detail", "code"})


def test_no_bytes_in_the_headers_are_an_error_of_ours(client):
    user = b'{"user_id": "ann"}'
    fitting = b"X-Novalto-Signature: " + sign(user, SECRET).encode()
    for headers, expected in (
        ((b"X-Novalto-User: " + user, fitting), 404),
        ((b"x-NOVALTO-user: " + user, fitting), 404),
        ((b"X-Novalto-User: \xff\xfe\x80", b"X-Novalto-Signature: \xff"), 401),
        ((b"X-Novalto-User: " + user, b"X-Novalto-Signature: \xc3\xa4"), 401),
        ((b"X-Novalto-User: " + user, fitting, b"X-Novalto-User: " + user), 401),
        ((b"X-Novalto-User: a\x00b", fitting), 400),
        ((b"X-Novalto-User: " + b"a" * 1_000_000, fitting), 400),
        ((b"X-Novalto-User:", b"X-Novalto-Signature:"), 401),
    ):
        status, body = _raw(client, *headers)
        assert status == expected, headers[0][:40]
        if status >= 400:
            assert set(json.loads(body)) == {"detail", "code"}
    assert client.get("/live").status_code == 200


def test_a_caller_without_admin_is_403_and_is_told_why(client):
    for path in ("/trigger-finetune", f"{RUN}/cancel"):
        answer = client.post(path, headers=signed(admin=False), content=b"{}")
        assert (answer.status_code, answer.json()["code"]) == (403, "admin_required")


def test_an_unknown_route_and_a_wrong_method_have_the_shape_of_every_error(client):
    for answer, code in (
        (client.get("/nowhere"), "not_found"),
        (client.get("/trigger-finetune"), "method_not_allowed"),
        (client.post("/trigger-finetune/"), "not_found"),  # and no redirect past the gateway
    ):
        assert answer.json()["code"] == code
        assert isinstance(answer.json()["detail"], str)


def test_a_bug_of_ours_has_the_shape_of_every_error_too(client, engine):
    with engine(None).begin() as connection:
        connection.execute(text("ALTER TABLE ledger.run RENAME COLUMN kb_id TO gone"))
    answer = client.get(RUN, headers=signed())
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "kb_id" not in answer.text, "no word about our insides"
