"""Callers that send their body a little at a time: they hold nobody up, and not for ever."""

import json
import socket
import time
from contextlib import ExitStack, contextmanager

import pytest

from oncetune.dapr import TOKEN_HEADER
from tests.deadline import eventually
from tests.serving import APP_TOKEN, serving, signed
from tests.trigger.asked import ask, document

FEW = 10
SLOW = 100  # ten times the threads and the connections of the database


@contextmanager
def _beginning(client, body=b"{", length=1000):
    """A caller that has sent the first part of its body."""
    headers = signed() | {"Host": "127.0.0.1", "Content-Length": str(length)}
    head = "POST /trigger-finetune HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", client.base_url.port), timeout=10) as caller:
        caller.sendall(head.encode() + b"\r\n" + body)
        yield caller


def _everything(caller):
    """What the server sends until it closes."""
    received = b""
    while part := caller.recv(65536):
        received += part
    return received


@pytest.fixture
def hasty(monkeypatch, database_url):
    """A service that waits half a second for a body."""
    deadline = {"ONCETUNE_TRIGGER_BODY_DEADLINE": "PT0.5S"}
    with serving(monkeypatch, "trigger", "status", database_url=database_url, environment=deadline) as client:
        yield client


def test_a_body_that_is_not_complete_in_time_is_408_and_its_connection_is_closed(hasty):
    with _beginning(hasty) as caller:
        answer = _everything(caller)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body) == {"detail": "The body was not complete within 0.5 seconds", "code": "body_too_slow"}
    assert ask(hasty).status_code == 200


def test_bytes_that_keep_dripping_in_do_not_stretch_the_deadline(hasty):
    with _beginning(hasty) as caller:
        began = time.monotonic()
        caller.settimeout(0.05)

        def refused():
            caller.sendall(b" ")
            try:
                return caller.recv(65536).startswith(b"HTTP/1.1 408 ")
            except TimeoutError:
                return False

        eventually(refused, seconds=5)
        assert time.monotonic() - began >= 0.4


def test_slow_bodies_hold_no_thread_no_seat_and_no_connection_of_the_database(client):
    with ExitStack() as slow:
        for _ in range(SLOW):
            slow.enter_context(_beginning(client))
        for number in range(20):
            assert ask(client, document(f"kb{number}")).status_code == 200


def _busy(answer):
    return answer if (answer.status_code, answer.json().get("code")) == (503, "busy") else None


def test_beyond_the_requests_that_a_process_holds_the_next_is_503_unread_and_probes_scrapes_and_deliveries_go_on(
    monkeypatch, database_url
):
    few = {"ONCETUNE_REQUESTS": str(FEW)}
    with (
        serving(monkeypatch, "trigger", "status", database_url=database_url, environment=few) as client,
        ExitStack() as slow,
    ):
        held = [slow.enter_context(_beginning(client)) for _ in range(FEW)]
        busy = eventually(lambda: _busy(ask(client, document("other"))))
        assert int(busy.headers["Retry-After"]) > 0
        with _beginning(client) as unread:
            assert b" 503 " in _everything(unread).partition(b"\r\n")[0]
        assert [client.get(path).status_code for path in ("/live", "/ready", "/health", "/metrics")] == [200] * 4
        delivered = client.post("/events/run-requested", content=b"{}", headers={TOKEN_HEADER: APP_TOKEN})
        assert delivered.json() == {"status": "DROP"}
        held[0].close()
        eventually(lambda: ask(client, document("other"), key="k").status_code == 200)
