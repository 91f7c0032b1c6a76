"""Whoever reads a result slowly, or not at all, keeps nobody else from anything."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from tests.deadline import eventually
from tests.serving import serving, signed
from tests.status.artifacts.given import links

FEW = 10  # the fewest requests that a process may be set to
LARGE = 64 * 2**20  # bytes, more than any socket takes unread


@pytest.fixture
def large(root, run_id):
    """The run's log is long."""
    os.truncate(root / str(run_id) / "1" / "training.log", LARGE)


@pytest.fixture
def few_at_once(monkeypatch, database_url, root):
    """`few_at_once(DOWNLOAD_DEADLINE="PT1S")`: a status that has few requests in work, by these settings of its own."""
    monkeypatch.setattr("oncetune.gateway.crowd.SEAT_SECONDS", 0.2)

    def serve(**own: str):
        few = {"ONCETUNE_REQUESTS": str(FEW), "ONCETUNE_ARTIFACTS": str(root)}
        few |= {f"ONCETUNE_STATUS_{name}": value for name, value in own.items()}
        return serving(monkeypatch, "status", database_url=database_url, environment=few)

    return serve


@contextmanager
def slow_caller(url: str) -> Iterator[socket.socket]:
    """Somebody who has read the beginning of the answer, and no more."""
    parts = urlsplit(url)
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.settimeout(20)
        caller.connect((parts.hostname, parts.port))
        caller.sendall(f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert caller.recv(4) == b"HTTP"
        yield caller


@pytest.mark.usefixtures("large")
def test_slow_downloads_hold_their_own_seats_and_no_place_of_the_other_requests(few_at_once, run_id):
    with few_at_once(DOWNLOADS_AT_ONCE=str(FEW)) as status:
        found = links(status, run_id)
        with ExitStack() as callers:
            for _ in range(FEW):
                callers.enter_context(slow_caller(found["logs_url"]))
            assert status.get("/runs", headers=signed()).status_code == 200
            busy = status.get(found["report_url"])
            assert (busy.status_code, busy.json()["code"], "retry-after" in busy.headers) == (503, "busy", True)
            stranger = status.get(found["report_url"] + "0")
            assert stranger.status_code == 404, "who has no right to a file does not wait for a seat"
        eventually(lambda: status.get(found["report_url"]).status_code == 200)


@pytest.mark.usefixtures("large")
def test_who_takes_too_long_gets_no_more_and_loses_the_seat(few_at_once, run_id):
    with few_at_once(DOWNLOADS_AT_ONCE="1", DOWNLOAD_DEADLINE="PT1S") as status:
        found = links(status, run_id)
        with slow_caller(found["logs_url"]) as caller:
            eventually(lambda: status.get(found["report_url"]).status_code == 200)
            received = sum(map(len, iter(lambda: caller.recv(1 << 20), b"")))
        assert 0 < received < LARGE
        rest = httpx.get(found["logs_url"], headers={"Range": f"bytes={LARGE - 3}-"}, trust_env=False)
        assert (rest.status_code, rest.content) == (206, bytes(3))
