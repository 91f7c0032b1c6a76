"""A fetch has one deadline over all it does, tries again what may pass, and ends soon when it is told to."""

import gzip
import socket
import threading
from datetime import timedelta

import pytest

from oncetune.datasets.fetch import fetch_dataset
from oncetune.datasets.watch import FetchFailed, FetchStopped
from tests.datasets.fetching import fetch, refusal, refused_with, rules, saying
from tests.datasets.hostile import answer, for_ever, in_pieces, redirect
from tests.deadline import in_time

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
TEXT = b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n'


def no_names(_name: str) -> list[str]:
    threading.Event().wait()
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
    "hints without end": for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a drip of hints": for_ever(b"", b"HTTP/1.1 102 Processing\r\n\r\n", pause=0.05),
    "redirects": slow_redirect,
}


@pytest.mark.parametrize("script", SLOW.values(), ids=SLOW)
def test_whoever_is_slow_is_left_at_the_deadline(script, tmp_path):
    refused = in_time(lambda: refused_with(script, tmp_path, deadline=SECOND))
    assert refused.code == "fetch_too_slow"
    assert "within 1 s" in refused.message


def test_a_name_server_that_never_answers_is_left_at_the_deadline(tmp_path):
    with saying(answer(TEXT)) as server:
        url, its = server.url("/pairs", "a.test"), rules(server, deadline=SECOND, resolve=no_names)
        assert in_time(lambda: refusal(url, tmp_path, its)).code == "fetch_too_slow"


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
        assert fetch(server.url("/pairs"), tmp_path, rules(server, deadline=MINUTE))[1] == TEXT
        assert server.paths() == ["/pairs"] * 3


def test_a_server_that_starts_late_is_waited_for(tmp_path):
    tries = []
    with socket.socket() as late:
        late.bind(("127.0.0.1", 0))  # the port is taken, and refuses connections until somebody listens
        port = late.getsockname()[1]

        def start() -> None:
            connection, _ = late.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer(TEXT))

        def look_up(name: str) -> list[str]:
            tries.append(name)
            if len(tries) == 2:
                late.listen()
                threading.Thread(target=start, daemon=True).start()
            return ["127.0.0.1"]

        its = rules(_At(port), deadline=MINUTE, resolve=look_up)
        assert in_time(lambda: fetch(f"http://a.test:{port}/", tmp_path, its))[1] == TEXT
    assert len(tries) == 2


def test_what_is_final_is_not_tried_again(tmp_path):
    for script in (answer(b"", 404), answer(gzip.compress(TEXT)[:-1]), redirect("ftp://x/")):
        with saying([script, answer(TEXT)]) as server:
            refusal(server.url("/pairs"), tmp_path, rules(server))
            assert server.paths() == ["/pairs"]


def test_tries_end_where_the_next_would_be_after_the_deadline_with_the_last_reason(tmp_path, monkeypatch):
    monkeypatch.setattr("oncetune.datasets.fetch._PAUSES", (0.0, 0.0, 3600.0))
    with saying([b"", answer(b"", 429), answer(b"", 503)]) as server:
        refused = in_time(lambda: refusal(server.url("/pairs"), tmp_path, rules(server, deadline=MINUTE)))
        assert len(server.heads) == 3
    assert (refused.code, isinstance(refused, FetchFailed)) == ("fetch_failed", True)
    assert "503" in refused.message


STOPPED_IN = {
    "the body": (for_ever(answer(b"", content_length=10**6), b" ", pause=0.01), {}),
    "the headers": (in_pieces(b"", pause=60), {}),
    "the pause before another try": (answer(b"", 503), {}),
    "the name's lookup": (answer(TEXT), {"resolve": no_names}),
}


@pytest.mark.parametrize(("script", "other"), STOPPED_IN.values(), ids=STOPPED_IN)
def test_a_wish_to_stop_is_seen_long_before_the_deadline_and_leaves_nothing(script, other, tmp_path):
    asked = threading.Event()
    threading.Timer(0.3, asked.set).start()
    with saying(script) as server:
        its, url = (
            rules(server, deadline=timedelta(hours=1), **other),
            server.url("/pairs", "a.test" if other else "127.0.0.1"),
        )
        with pytest.raises(FetchStopped):
            in_time(lambda: fetch_dataset(url, tmp_path / "pairs", its, asked.is_set))
    assert list(tmp_path.iterdir()) == []
