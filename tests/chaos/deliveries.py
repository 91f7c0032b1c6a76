"""Between a sidecar and its application: an HTTP proxy that may hold deliveries back, and send them more than once."""

import http.client
import random
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DELIVERIES = "/events/"
_ANSWER_SECONDS = 60
_OF_ONE_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "te", "trailer", "upgrade"}


@dataclass(frozen=True)
class Mood:
    """What happens to a delivery: up to so many seconds late; sent twice, of these some at the same time."""

    late: float = 0.0
    twice: float = 0.0
    at_once: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class DeliveryProxy(ThreadingHTTPServer):
    """Serves `listener` while inside; everything goes on to `port` of this machine as it came, but for the mood."""

    daemon_threads = True
    block_on_close = False  # a delivery that is held back ends with its sidecar

    def __init__(self, listener: socket.socket, port: int) -> None:
        super().__init__(listener.getsockname(), _Hop, bind_and_activate=False)
        self.socket.close()
        self.socket, (self.server_name, self.server_port) = listener, listener.getsockname()
        self.target = port
        self.mood = Mood()
        self.chance = random.Random(0)
        self.doubled = 0
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    def __enter__(self) -> "DeliveryProxy":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    @contextmanager
    def feeling(self, mood: Mood) -> Iterator[None]:
        """This mood while inside; what is held back then may arrive later."""
        self.mood, self.chance = mood, random.Random(mood.seed)
        try:
            yield
        finally:
            self.mood = Mood()

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # a bug of this file


class _Hop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: DeliveryProxy

    def _relay(self) -> None:
        body = self._body()
        try:
            answer = self._deliver(body) if self.path.startswith(DELIVERIES) else self._send_on(body)
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # as if the application itself had gone away
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            if name.lower() not in _OF_ONE_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = _relay  # noqa: N815 - the names of the standard library; a sidecar uses no other method

    def _deliver(self, body: bytes) -> Answer:
        mood, chance = self.server.mood, self.server.chance
        threading.Event().wait(chance.uniform(0, mood.late))
        if chance.random() >= mood.twice:
            return self._send_on(body)
        self.server.doubled += 1
        if chance.random() >= mood.at_once:
            self._send_on(body)
            return self._send_on(body)
        twin = threading.Thread(target=self._send_on_unheard, args=(body,), daemon=True)
        twin.start()
        answer = self._send_on(body)
        twin.join()
        return answer

    def _send_on_unheard(self, body: bytes) -> None:
        try:
            self._send_on(body)
        except (OSError, http.client.HTTPException):
            return

    def _send_on(self, body: bytes) -> Answer:
        application = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=_ANSWER_SECONDS)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_ONE_HOP}
        try:
            application.request(self.command, self.path, body or None, headers)
            answer = application.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read())
        finally:
            application.close()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        whole = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
