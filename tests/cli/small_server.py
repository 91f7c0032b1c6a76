"""A small real HTTP server that answers as a test says, to show what `doctor` and `preflight` make of it."""

import json
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HEALTHY = {"status": "healthy", "environment": "local", "database": "connected"}
OPENAPI = {"paths": {"/trigger-finetune": {"post": {"parameters": [{"name": "dry_run", "in": "query"}]}}}}


@dataclass
class SmallServer:
    """`answers` maps a path to (status, JSON document or text); another path is 404. `date` replaces the clock's."""

    answers: Mapping[str, tuple[int, Any]]
    date: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)  # "GET /health", in turn
    bodies: list[bytes] = field(default_factory=list)  # that came, each in its turn
    url: str = ""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@contextmanager
def small_server(server: SmallServer) -> Iterator[SmallServer]:
    """Serve on a free port of 127.0.0.1 while inside."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            server.asked.append(f"{self.command} {path}")
            server.bodies.append(self.rfile.read(int(self.headers.get("content-length", 0))))
            status, told = server.answers.get(path, (404, {"detail": "There is no such path"}))
            text = isinstance(told, str)
            body = told.encode() if text else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-type", "text/html" if text else "application/json")
            self.send_header("content-length", str(len(body)))
            for name, value in server.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def date_time_string(self, timestamp: float | None = None) -> str:
            return server.date or super().date_time_string(timestamp)

        def log_message(self, *_words: object) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


@contextmanager
def dripping_server() -> Iterator[str]:
    """The URL of a server that begins a header and sends a letter of it now and then, while inside."""
    gone = threading.Event()

    class Dripping(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"HTTP/1.1 200 OK\r\nx-slow: ")
            with suppress(OSError):  # the caller went away
                while not gone.wait(0.2):
                    self.request.sendall(b"x")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dripping) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            gone.set()
            server.shutdown()
            thread.join()
