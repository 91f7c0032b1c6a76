"""A small real gateway, which keeps what it was sent and answers as it is told; its `/health` stands in for ours."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

JSON, HTML = "application/json", "text/html"


@dataclass(frozen=True)
class Says:
    """One answer. `drips`: its body comes byte by byte, without an end; `hangs`: it never comes."""

    status: int = 200
    body: bytes = b'{"registered": true}'
    content_type: str = JSON
    location: str | None = None
    hangs: bool = False
    drips: bool = False


OK = Says()
FAILED = Says(500, b'{"code": "REGISTRATION_FAILED", "detail": "words of the gateway"}')
PAGE = Says(200, b"<html>Welcome</html>", HTML)
SLOW = Says(hangs=True)
DRIPPING = Says(drips=True)
HEALTHY = Says(200, b'{"status": "healthy"}')


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    document: object


@dataclass
class SmallGateway:
    """`says` answers the POSTs in turn, its last for ever; `health` answers GET /health."""

    port: int = 0
    says: list[Says] = field(default_factory=lambda: [OK])
    health: Says = HEALTHY
    received: list[Received] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)  # paths of the GETs
    gone: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def next_answer(self) -> Says:
        return self.says.pop(0) if len(self.says) > 1 else self.says[0]


class _Handler(BaseHTTPRequestHandler):
    gateway: SmallGateway

    def do_GET(self) -> None:
        self.gateway.asked.append(self.path)
        self._say(self.gateway.health)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        says = self.gateway.next_answer()
        self.gateway.received.append(Received(self.path, headers, json.loads(body)))
        self._say(says)

    def _say(self, says: Says) -> None:
        if says.hangs:
            self.gateway.gone.wait()
            return
        self.send_response(says.status)
        self.send_header("content-type", says.content_type)
        if says.location is not None:
            self.send_header("location", says.location)
        if not says.drips:
            self.send_header("content-length", str(len(says.body)))
        self.end_headers()
        try:
            self.wfile.write(says.body)
            while says.drips and not self.gateway.gone.wait(0.02):
                self.wfile.write(b" ")
        except OSError:  # the caller went away
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Standard error belongs to the lines of the service."""


@contextmanager
def small_gateway(*says: Says, port: int = 0, health: Says = HEALTHY) -> Iterator[SmallGateway]:
    """It listens while inside, on `port` or a free one."""
    gateway = SmallGateway(says=list(says) or [OK], health=health)
    server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"gateway": gateway}))
    gateway.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield gateway
    finally:
        gateway.gone.set()
        server.shutdown()
        thread.join()
        server.server_close()
