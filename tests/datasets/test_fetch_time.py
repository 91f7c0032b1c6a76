"""A fetch has one deadline over all it does, tries again what may pass, and ends soon when it is told to."""

import gzip
import socket
import threading
import time
from datetime import timedelta

import pytest

from oncetune.datasets.fetch import fetch_dataset
from oncetune.datasets.watch import FetchFailed, FetchStopped
from tests.datasets.fetching import fetch, refusal, refused_with, rules, saying
from tests.datasets.hostile import answer, for_ever, hostile, in_pieces, redirect
from tests.deadline import in_time

SECOND = timedelta(seconds=1)
TEXT = b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n'


def slow_names(_name: str) -> list[str]:
    threading.Event().wait(20)
    return []


def slow_redirect(connection: socket.socket, ended: threading.Event) -> None:
    ended.wait(0.4)
    connection.sendall(redirect("/pairs"))


SLOW = {
    "headers": for_ever(b"HTTP/1.1 200 OK\r\n", b"X: 1\r\n", pause=0.1),
    "silence": in_pieces(b"", pause=60),
    "silence after the headers": in_pieces(answer(TEXT)[: -len(TEXT)], pause=60),
    "a drip": for_ever(answer(b"", content_length=1000), b" ", pause=0.05),
    "a drip of chunks": for_ever(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", pause=0.05),
    "a drip of hints": for_ever(b"", b"HTTP/1.1 102 Processing\r\n\r\n", pause=0.05),
    "redirects": slow_redirect,
}


@pytest.mark.parametrize("script", SLOW.values(), ids=SLOW)
def test_whoever_is_slow_is_left_at_the_deadline(script, tmp_path):
    began = time.monotonic()
    refused = in_time(lambda: refused_with(script, tmp_path, deadline=SECOND))
    assert refused.code == "fetch_too_slow"
    assert "within 1 s" in refused.message
    assert 0.9 < time.monotonic() - began < 3


def test_a_name_server_that_never_answers_is_left_at_the_deadline(tmp_path):
    began = time.monotonic()
    with saying(answer(TEXT)) as server:
        url, its = server.url("/pairs", "a.test"), rules(server, deadline=SECOND, resolve=slow_names)
        assert in_time(lambda: refusal(url, tmp_path, its)).code == "fetch_too_slow"
    assert time.monotonic() - began < 3


def test_a_handshake_that_never_ends_is_left_at_the_deadline(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        its = rules(_At(deaf.getsockname()[1]), deadline=SECOND)
        refused = in_time(lambda: refusal(f"https://127.0.0.1:{deaf.getsockname()[1]}/", tmp_path, its))
    assert refused.code == "fetch_too_slow"


class _At:
    def __init__(self, port: int) -> None:
        self.port = port


@pytest.mark.parametrize(
    "first",
    [answer(b"busy", 503), answer(b"slower", 429), b"", answer(TEXT * 9, content_length=999), b"SSH-2.0\r\n"],
    ids=["503", "429", "closed", "broken off", "no HTTP"],
)
def test_what_may_pass_is_tried_again(first, tmp_path):
    with saying([first, first, answer(TEXT)]) as server:
        assert fetch(server.url("/pairs"), tmp_path, rules(server))[1] == TEXT
        assert server.paths() == ["/pairs"] * 3


def test_a_server_that_starts_late_is_waited_for(tmp_path):
    with hostile({}) as gone:
        port = gone.port
    sent: list[bytes] = []

    def start() -> None:
        with socket.create_server(("127.0.0.1", port)) as late:
            connection, _ = late.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer(TEXT))
                sent.append(TEXT)

    timer = threading.Timer(0.3, start)
    timer.start()
    assert fetch(f"http://127.0.0.1:{port}/", tmp_path, rules(_At(port)))[1] == TEXT
    timer.join()


def test_what_is_final_is_not_tried_again(tmp_path):
    for script in (answer(b"", 404), answer(gzip.compress(TEXT)[:-1]), redirect("ftp://x/")):
        with saying([script, answer(TEXT)]) as server:
            refusal(server.url("/pairs"), tmp_path, rules(server))
            assert server.paths() == ["/pairs"]


def test_tries_end_at_the_deadline_with_the_last_reason(tmp_path):
    began = time.monotonic()
    with saying(answer(b"", 503)) as server:
        refused = refusal(server.url("/pairs"), tmp_path, rules(server, deadline=timedelta(seconds=2)))
        assert 2 <= len(server.heads) <= 3
    assert (refused.code, isinstance(refused, FetchFailed)) == ("fetch_failed", True)
    assert "503" in refused.message
    assert time.monotonic() - began < 3


STOPPED_IN = {
    "the body": (for_ever(answer(b"", content_length=10**6), b" ", pause=0.01), {}),
    "the headers": (in_pieces(b"", pause=60), {}),
    "the pause before another try": (answer(b"", 503), {}),
    "the name's lookup": (answer(TEXT), {"resolve": slow_names}),
}


@pytest.mark.parametrize(("script", "other"), STOPPED_IN.values(), ids=STOPPED_IN)
def test_a_wish_to_stop_is_seen_within_a_second_and_leaves_nothing(script, other, tmp_path):
    asked = threading.Event()
    threading.Timer(0.3, asked.set).start()
    began = time.monotonic()
    with saying(script) as server:
        its, url = (
            rules(server, deadline=timedelta(seconds=60), **other),
            server.url("/pairs", "a.test" if other else "127.0.0.1"),
        )
        with pytest.raises(FetchStopped):
            in_time(lambda: fetch_dataset(url, tmp_path / "pairs", its, asked.is_set))
    assert time.monotonic() - began < 1.5
    assert list(tmp_path.iterdir()) == []
