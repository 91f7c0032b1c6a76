"""One dataset by URL into a file: one GET, within one deadline, from nowhere but where the rules allow.

A refusal (DatasetRefused) is final: the address, the status, the size, the content. What may pass (no connection, no
name server, 5xx, 429, a transfer that broke) is tried again with growing pauses until the deadline, and ends as
FetchFailed, a refusal too. No proxy, no cookie and no password of this machine is used, whatever its environment says.
"""

import hashlib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin

import httpcore
import httpx

from oncetune.datasets.decoding import Decoder, too_large
from oncetune.datasets.dialing import JudgedBackend
from oncetune.datasets.fetch_rules import FetchRules
from oncetune.datasets.refusal import DatasetRefused
from oncetune.datasets.urls import DEFAULT_PORTS, host_of, printable_url, read_url
from oncetune.datasets.watch import FetchFailed, Watch
from oncetune.datasets.whole_file import whole_file

MAX_REDIRECTS = 3

_REDIRECTS = {301, 302, 303, 307, 308}
_PASSING = {408, 425, 429}  # and every 5xx
_FORBIDDEN = {401, 403, 407}
_PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds; then the last one again
_HEADERS: dict[bytes | str, bytes | str] = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "oncetune",
}
_NETWORK = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.RemoteProtocolError)


@dataclass(frozen=True)
class Fetched:
    """What was fetched."""

    byte_count: int  # decoded, as the file has them
    sha256: str  # of the bytes as they came: what sha256sum says of the served file
    is_gzip: bool
    url: str  # where it was at last, printable
    redirects: int


def fetch_dataset(url: str, destination: Path, rules: FetchRules, stop: Callable[[], bool]) -> Fetched:
    """Decoded into `destination`, which is overwritten; there is no file when anything is raised.

    Raises DatasetRefused, its kind FetchFailed, FetchStopped within seconds of `stop()` being true, and OSError when
    the file cannot be written. Memory: a few pieces of 64 KiB, whatever the size.
    """
    start, watch = read_url(url), Watch(rules.deadline, stop)
    with whole_file(destination) as file:
        return _keep_trying(start, file, rules, watch)


def _keep_trying(url: httpx.URL, file: BinaryIO, rules: FetchRules, watch: Watch) -> Fetched:
    tries = 0
    while True:
        pause = _PAUSES[min(tries, len(_PAUSES) - 1)]
        try:
            return _try_once(url, file, rules, watch)
        except FetchFailed:
            if watch.left <= pause:
                raise
        watch.pause(pause)
        tries += 1


def _try_once(url: httpx.URL, file: BinaryIO, rules: FetchRules, watch: Watch) -> Fetched:
    file.seek(0)
    file.truncate()
    for redirects in range(MAX_REDIRECTS + 1):
        with _answer(url, rules, watch) as response:
            if response.status not in _REDIRECTS:
                _check_answer(url, response, rules)
                decoder, sha256 = _receive(url, response, file, rules)
                shown = printable_url(str(url))
                return Fetched(decoder.decoded, sha256, decoder.is_gzip, shown, redirects)
            url = _next_url(url, response)
    raise DatasetRefused("url_too_many_redirects", f"The dataset's URL redirects more than {MAX_REDIRECTS} times")


@contextmanager
def _answer(url: httpx.URL, rules: FetchRules, watch: Watch) -> Iterator[httpcore.Response]:
    """The answer to one GET, its body unread, on a connection of its own."""
    host = host_of(url)
    port = url.port or DEFAULT_PORTS[url.scheme]
    if port not in rules.ports and not rules.trusts_port(host, port):
        known = ", ".join(map(str, sorted(rules.ports)))
        raise DatasetRefused("url_refused_port", f"A dataset is not fetched from port {port}, only from {known}")
    target = httpcore.URL(scheme=url.scheme, host=host, port=port, target=url.raw_path)
    context = _trust(rules) if url.scheme == "https" else None
    try:
        with (
            httpcore.ConnectionPool(context, network_backend=JudgedBackend(rules, watch)) as pool,
            pool.stream("GET", target, headers={"Host": url.netloc.decode(), **_HEADERS}) as response,
        ):
            yield response
    except _NETWORK as error:
        watch.step()  # the time may have ended it
        raise FetchFailed("fetch_failed", f"{host} did not answer as a web server ({type(error).__name__})") from error


def _trust(rules: FetchRules) -> ssl.SSLContext:
    context = httpcore.default_ssl_context()
    if rules.ca_file is not None:
        context.load_verify_locations(rules.ca_file)
    return context


def _header(response: httpcore.Response, name: bytes) -> str | None:
    return next((value.decode("utf-8", "replace") for key, value in response.headers if key.lower() == name), None)


def _next_url(url: httpx.URL, response: httpcore.Response) -> httpx.URL:
    location = _header(response, b"location")
    if not location:
        raise DatasetRefused("url_bad_answer", f"{host_of(url)} redirects ({response.status}) without saying where to")
    try:
        following = read_url(urljoin(str(url), location))
    except ValueError as error:  # brackets that do not close
        raise DatasetRefused("url_invalid", f"{host_of(url)} redirects to what is no URL") from error
    if url.scheme == "https" and following.scheme == "http":
        raise DatasetRefused("url_refused_downgrade", f"{host_of(url)} redirects from https to http")
    return following


def _check_answer(url: httpx.URL, response: httpcore.Response, rules: FetchRules) -> None:
    status = response.status
    told = f"{host_of(url)} answered {status} for {printable_url(str(url))[:1000]}"
    if status in _PASSING or status >= 500:
        raise FetchFailed("fetch_failed", told)
    if status in _FORBIDDEN:
        raise DatasetRefused("url_forbidden", f"{told}; the URL must work without a login")
    if status >= 400:
        raise DatasetRefused("url_not_found", told)
    if status != 200:
        raise DatasetRefused("url_bad_answer", f"{told}; a dataset comes whole, with 200")
    encoding = (_header(response, b"content-encoding") or "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip"}:  # a gzip is told by its content, whoever named it
        raise DatasetRefused("url_bad_encoding", f"{host_of(url)} sends an encoding that was not asked for; use gzip")
    if int(_header(response, b"content-length") or 0) > _most_sent(rules):
        raise too_large(rules.max_bytes)


def _most_sent(rules: FetchRules) -> int:
    """Bytes of a body: a gzip of random text is a little larger than the text; one of nothing must end, too."""
    return rules.max_bytes + rules.max_bytes // 100 + 4096


def _receive(url: httpx.URL, response: httpcore.Response, file: BinaryIO, rules: FetchRules) -> tuple[Decoder, str]:
    """The time is looked at in each read of the connection."""
    decoder, digest = Decoder(max_bytes=rules.max_bytes), hashlib.sha256()
    sent = 0
    try:
        for piece in response.iter_stream():
            sent += len(piece)
            if sent > _most_sent(rules):
                raise too_large(rules.max_bytes)
            digest.update(piece)
            file.writelines(decoder.decode(piece))
    except _NETWORK as error:
        raise FetchFailed("dataset_truncated", f"{host_of(url)} broke off after {sent} bytes of the dataset") from error
    file.write(decoder.finish())
    _check_end(url, response)
    return decoder, digest.hexdigest()


def _check_end(url: httpx.URL, response: httpcore.Response) -> None:
    """A body that ends with its connection may have been cut anywhere, and a cut JSONL reads well; so does a gzip of
    several members that was cut between two."""
    framed = any(_header(response, name) is not None for name in (b"content-length", b"transfer-encoding"))
    if not framed:
        raise DatasetRefused(
            "url_unknown_length",
            f"{host_of(url)} says neither the length of the dataset nor its end; "
            "serve it with Content-Length or in chunks",
        )
