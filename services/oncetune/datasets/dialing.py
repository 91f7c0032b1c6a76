"""Connections of a fetch: each name is looked up once, all its addresses are judged, and one of these is connected to.

The name stays in the Host header, and in TLS what the certificate must be for; only the connection goes by address.
"""

import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, wait
from ipaddress import ip_address
from ssl import SSLCertVerificationError, SSLContext
from threading import Thread
from typing import Any

import httpcore

from oncetune.datasets.addresses import not_public, plain_address
from oncetune.datasets.decoding import PIECE_BYTES
from oncetune.datasets.fetch_rules import FetchRules
from oncetune.datasets.refusal import DatasetRefused
from oncetune.datasets.urls import literal_address
from oncetune.datasets.watch import FetchFailed, Watch

CONNECT_SECONDS = 5.0  # one address, or one handshake: `stop` is not asked meanwhile

SocketOptions = Iterable[Any]


class JudgedBackend(httpcore.NetworkBackend):
    """What httpcore opens connections with. Raises DatasetRefused, FetchFailed and FetchStopped, as `Watch` does."""

    def __init__(self, rules: FetchRules, watch: Watch) -> None:
        self._rules, self._watch = rules, watch

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002  the deadline is the watch's
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore.NetworkStream:
        failed: Exception | None = None
        for address in judged_addresses(host, port, self._rules, self._watch):
            self._watch.step()
            seconds = min(CONNECT_SECONDS, self._watch.left)
            try:
                stream = httpcore.SyncBackend().connect_tcp(address, port, seconds, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
            else:
                return _WatchedStream(stream, self._watch)
        raise failed or httpcore.ConnectError("the name has no address")


def judged_addresses(host: str, port: int, rules: FetchRules, watch: Watch) -> Sequence[str]:
    """Every address of the host. Raises DatasetRefused when one is not public, and the rules do not trust it."""
    found = [host] if literal_address(host) else _look_up(host, rules, watch)
    if rules.trusts(host, port):
        return found
    trusted = rules.networks()
    for address in map(ip_address, found):
        kind = not_public(address)
        plain = plain_address(address)
        if kind and not any(candidate in network for network in trusted for candidate in (address, plain)):
            raise DatasetRefused(
                "url_refused_address",
                f"{host} has {kind} address; a dataset comes from a public one, or from a host that the operator "
                "allows (ONCETUNE_TRAINER_FETCH_ALLOW)",
            )
    return found


def _look_up(host: str, rules: FetchRules, watch: Watch) -> Sequence[str]:
    """A resolver cannot be interrupted: it has a thread, which is left behind when the time is over."""
    answer: Future[Sequence[str]] = Future()

    def ask() -> None:
        try:
            answer.set_result(rules.resolve(host))
        except (OSError, ValueError) as error:
            answer.set_exception(error)

    Thread(target=ask, name="resolve", daemon=True).start()
    while not answer.done():
        wait([answer], timeout=watch.step())
    try:
        return answer.result()
    except (OSError, ValueError) as error:
        if isinstance(error, socket.gaierror) and error.errno in {socket.EAI_NONAME, socket.EAI_NODATA}:
            raise DatasetRefused("url_unknown_host", f"No host has the name {host}") from error
        raise FetchFailed("fetch_failed", f"The name {host} cannot be looked up now") from error


class _WatchedStream(httpcore.NetworkStream):
    """Reads in short steps, so that neither a slow drip nor silence outlasts the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, watch: Watch) -> None:
        self._stream, self._watch = stream, watch

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        while True:
            try:
                return self._stream.read(min(max_bytes, PIECE_BYTES), self._watch.step())
            except httpcore.ReadTimeout:
                continue

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._watch.step()
        self._stream.write(buffer, min(CONNECT_SECONDS, self._watch.left))

    def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        self._watch.step()
        seconds = min(CONNECT_SECONDS, self._watch.left)
        try:
            return _WatchedStream(self._stream.start_tls(ssl_context, server_hostname, seconds), self._watch)
        except httpcore.ConnectError as error:
            if not isinstance(reason := error.__cause__, SSLCertVerificationError):
                raise
            sentence = f"{server_hostname}'s certificate is not trusted: {reason.verify_message}"
            raise DatasetRefused("url_bad_certificate", sentence) from error

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
