"""What a web server says, as the file of a dataset: whole, decoded, within its limits."""

import gzip
import hashlib
import os
import tracemalloc
import zlib
from collections.abc import Callable
from datetime import timedelta
from functools import cache

import pytest

from oncetune.datasets.fetch import fetch_dataset
from oncetune.datasets.watch import FetchFailed
from tests.datasets.fetching import MIB, fetch, refused_with, rules, saying
from tests.datasets.hostile import Script, answer, for_ever, hostile, in_pieces, redirect

TEXT = b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n' * 100
ZIPPED = gzip.compress(TEXT)
MINUTE = timedelta(minutes=1)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def never() -> bool:
    return False


@pytest.fixture
def no_second_try(monkeypatch):
    """The pause before it would last longer than any deadline here."""
    monkeypatch.setattr("oncetune.datasets.fetch._PAUSES", (3600.0,))


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


BODIES = {
    "plain": answer(TEXT),
    "gzip": answer(ZIPPED),
    "gzip of two members": answer(gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
    "gzip that a header names": answer(ZIPPED, content_encoding="gzip"),
    "gzip of a server that thinks it is text": answer(ZIPPED, content_type="text/plain", content_encoding="identity"),
    "chunks": CHUNKED + chunk(TEXT[:7]) + chunk(TEXT[7:]) + b"0\r\n\r\n",
    "chunks of one byte": CHUNKED + b"".join(chunk(TEXT[at : at + 1]) for at in range(len(TEXT))) + b"0\r\n\r\n",
    "after an early hint": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(TEXT),
    "a byte at a time": in_pieces(*(bytes([one]) for one in answer(TEXT)), pause=0),
}


@pytest.mark.parametrize("script", BODIES.values(), ids=BODIES)
def test_a_dataset_is_fetched_however_it_is_sent(script, tmp_path):
    with saying(script) as server:
        fetched, text = fetch(server.url("/pairs"), tmp_path, rules(server))
    assert text == TEXT
    assert fetched.byte_count == len(TEXT)
    assert fetched.redirects == 0


def test_what_was_fetched_is_told(tmp_path):
    with hostile({"/start?key=a": redirect("/pairs?key=b#c"), "/pairs?key=b": answer(ZIPPED)}) as server:
        fetched, _ = fetch(server.url("/start?key=a"), tmp_path, rules(server))
        assert fetched.url == server.url("/pairs")
    assert fetched.sha256 == hashlib.sha256(ZIPPED).hexdigest()
    assert (fetched.is_gzip, fetched.redirects) == (True, 1)


def test_the_request_tells_nothing_but_what_is_asked(tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ann password secret")
    monkeypatch.setenv("HOME", str(tmp_path))
    first = answer(b"", 302, location="/pairs?b=ü", set_cookie="session=1")
    with hostile({"/start": first, "/pairs?b=%C3%BC": answer(TEXT)}) as server:
        fetch(server.url("/start#part"), tmp_path, rules(server))
        lines = [sorted(head.strip().split("\r\n")) for head in server.heads]
        headers = [
            "Accept-Encoding: identity",
            "Accept: */*",
            "Connection: close",
            f"Host: 127.0.0.1:{server.port}",
            "User-Agent: oncetune",
        ]
        assert lines == [sorted(["GET /start HTTP/1.1", *headers]), sorted(["GET /pairs?b=%C3%BC HTTP/1.1", *headers])]


def test_the_file_is_overwritten(tmp_path):
    (tmp_path / "pairs").write_bytes(TEXT + TEXT)
    with saying(answer(TEXT)) as server:
        assert fetch(server.url("/pairs"), tmp_path, rules(server))[1] == TEXT


def test_a_disk_that_cannot_be_written_is_not_the_datasets_fault(tmp_path):
    with saying(answer(TEXT)) as server, pytest.raises(FileNotFoundError):
        fetch_dataset(server.url("/pairs"), tmp_path / "none" / "pairs", rules(server), lambda: False)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_dataset_at_the_limit_is_fetched_and_one_byte_more_is_refused(pack, tmp_path):
    text = os.urandom(50_000).hex().encode()
    with saying(answer(pack(text))) as server:
        limit = rules(server, max_bytes=len(text))
        assert fetch(server.url("/pairs"), tmp_path, limit)[1] == text
    (tmp_path / "pairs").unlink()
    refused = refused_with(answer(pack(text)), tmp_path, max_bytes=len(text) - 1)
    assert refused.code == "dataset_too_large"
    assert "DPO_MAX_DATASET_SIZE_MB; for a URL ONCETUNE_TRAINER_FETCH_MAX_SIZE_MB" in refused.message


NAMED = b"\x1f\x8b\x08\x08aaaaaa"  # a gzip's header up to the file's name


@cache
def bomb() -> bytes:
    """A gzip of 100 MiB of zeros."""
    packing = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return b"".join(packing.compress(bytes(MIB)) for _ in range(100)) + packing.flush()


def bombing(pack: Callable[[bytes], bytes] = bytes, **headers: object) -> Script:
    """The bomb is made when it is asked for, once."""
    return lambda connection, _ended: connection.sendall(answer(pack(bomb()), **headers))


ENDLESS = {
    "a length over the limit": (in_pieces(answer(b"", content_length=2 * MIB), pause=60), "dataset_too_large"),
    "a length that no number has": (in_pieces(answer(b"", content_length="9" * 19), pause=60), "dataset_too_large"),
    "an endless body": (for_ever(b"HTTP/1.1 200 OK\r\n\r\n", bytes(65536)), "dataset_too_large"),
    "endless chunks": (for_ever(CHUNKED, chunk(bytes(65536))), "dataset_too_large"),
    "endless empty members": (for_ever(CHUNKED, chunk(gzip.compress(b"") * 100)), "dataset_too_large"),
    "endless padding": (for_ever(CHUNKED + chunk(ZIPPED), chunk(bytes(65536))), "dataset_too_large"),
    "an endless name in a gzip": (for_ever(CHUNKED + chunk(NAMED), chunk(b"a" * 9999)), "dataset_too_large"),
    "a bomb": (bombing(), "dataset_bomb"),
    "a bomb that says it is none": (bombing(content_encoding="identity", content_type="text/plain"), "dataset_bomb"),
    "a bomb that a header names": (bombing(content_encoding="gzip"), "dataset_bomb"),
    "a gzip in a gzip": (bombing(gzip.compress), "dataset_compressed_twice"),
}


@pytest.mark.parametrize(("script", "code"), ENDLESS.values(), ids=ENDLESS)
def test_a_body_that_has_no_end_is_refused_at_the_limit(script, code, tmp_path):
    small = 2 * MIB if code == "dataset_bomb" else MIB
    assert refused_with(script, tmp_path, max_bytes=small, deadline=MINUTE).code == code


LIES = {
    "a plain body that is shorter than it says": (answer(TEXT, content_length=len(TEXT) + 1), "dataset_truncated"),
    "a gzip that is shorter than it says": (answer(ZIPPED, content_length=len(ZIPPED) + 1), "dataset_truncated"),
    "a gzip that was cut before it was sent": (answer(ZIPPED[:-1]), "dataset_truncated"),
    "a length shorter than the gzip": (answer(ZIPPED, content_length=len(ZIPPED) - 5), "dataset_truncated"),
    "chunks without their end": (CHUNKED + chunk(TEXT), "dataset_truncated"),
    "a chunk that is cut": (CHUNKED + chunk(TEXT)[:-10], "dataset_truncated"),
    "a body whose end nobody can tell": (b"HTTP/1.1 200 OK\r\n\r\n" + TEXT, "url_unknown_length"),
    "a gzip that may go on with another member": (b"HTTP/1.0 200 OK\r\n\r\n" + ZIPPED, "url_unknown_length"),
    "a gzip of other bytes": (answer(ZIPPED[:-6] + b"\0" + ZIPPED[-5:]), "dataset_corrupt"),
    "a negative length": (answer(TEXT, content_length=-1), "fetch_failed"),
    "a length that is no number": (answer(TEXT, content_length="1e3"), "fetch_failed"),
    "two lengths": (answer(TEXT, content_length=f"{len(TEXT)}\r\nContent-Length: 5"), "fetch_failed"),
    "headers without end": (for_ever(b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n" * 1000), "fetch_failed"),
    "one header without end": (for_ever(b"HTTP/1.1 200 OK\r\nX-More: ", b"1" * 9999), "fetch_failed"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n", "fetch_failed"),
    "nothing": (b"", "fetch_failed"),
}


@pytest.mark.parametrize(("script", "code"), LIES.values(), ids=LIES)
def test_a_server_that_lies_is_found_out(script, code, tmp_path, no_second_try):
    assert refused_with(script, tmp_path, deadline=MINUTE).code == code


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_the_memory_of_a_fetch_does_not_grow_with_the_dataset(packed, tmp_path):
    line = os.urandom(2**15).hex().encode()
    piece = gzip.compress(line) if packed else line
    script = in_pieces(answer(b"", content_length=32 * 16 * len(piece)), *[piece] * 32 * 16, pause=0)
    with saying(script) as server:
        tracemalloc.start()
        try:
            fetched = fetch_dataset(server.url("/pairs"), tmp_path / "pairs", rules(server, max_bytes=32 * MIB), never)
            assert fetched.byte_count == 32 * MIB
            assert tracemalloc.get_traced_memory()[1] < 3 * MIB
        finally:
            tracemalloc.stop()


STATUSES = {
    "url_not_found": [400, 404, 405, 410, 418, 451, 499],
    "url_forbidden": [401, 403, 407],
    "url_bad_answer": [201, 203, 204, 206, 226, 300, 304, 305, 306],
    "fetch_failed": [408, 425, 429, 500, 502, 503, 504, 599],
}


@pytest.mark.parametrize(("code", "status"), [(code, status) for code, those in STATUSES.items() for status in those])
def test_only_200_is_a_dataset(code, status, tmp_path, no_second_try):
    script = answer(b"" if status in {204, 304} else TEXT, status)
    refused = refused_with(script, tmp_path, deadline=MINUTE)
    assert refused.code == code
    assert str(status) in refused.message
    assert isinstance(refused, FetchFailed) == (code == "fetch_failed")


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "x"])
def test_an_encoding_that_was_not_asked_for_is_refused(encoding, tmp_path):
    assert refused_with(answer(TEXT, content_encoding=encoding), tmp_path).code == "url_bad_encoding"
