"""A web server that says, byte for byte, what a test wants said; and a name server of the test's own."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from socketserver import BaseRequestHandler, ThreadingTCPServer

from dnslib import AAAA, QTYPE, RCODE, RR, A, DNSHeader, DNSRecord
from dnslib.server import DNSLogger, DNSServer

Script = bytes | Callable[[socket.socket, threading.Event], None]


def answer(body: bytes = b"", status: int = 200, **headers: object) -> bytes:
    """As a well-behaved server says it; `content_length=None` leaves the length out."""
    said = {"content_length": len(body)} | headers
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in said.items() if value is not None]
    return "\r\n".join([f"HTTP/1.1 {status} So", *lines, "", ""]).encode() + body


def redirect(location: str, status: int = 302) -> bytes:
    return answer(b"not this", status, location=location)


def in_pieces(*pieces: bytes, pause: float) -> Script:
    """The pieces, with a pause after each; the server's end cuts it short."""

    def say(connection: socket.socket, ended: threading.Event) -> None:
        for piece in pieces:
            connection.sendall(piece)
            if ended.wait(pause):
                return

    return say


def for_ever(beginning: bytes, piece: bytes, *, pause: float = 0) -> Script:
    def say(connection: socket.socket, ended: threading.Event) -> None:
        connection.sendall(beginning)
        while not ended.wait(pause):
            connection.sendall(piece)

    return say


@dataclass
class Hostile:
    """`scripts`: what is said on each path (404 elsewhere), the first of a list first and its last one for ever."""

    port: int
    scripts: Mapping[str, Script | list[Script]]
    connections: int = 0
    heads: list[str] = field(default_factory=list)  # as they came, request lines and headers
    ended: threading.Event = field(default_factory=threading.Event)

    def next_script(self, path: str) -> Script:
        script = self.scripts.get(path, answer(b"nothing here", 404))
        if isinstance(script, list):
            return script.pop(0) if len(script) > 1 else script[0]
        return script

    def url(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def paths(self) -> list[str]:
        return [head.split(" ")[1] for head in self.heads]


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


@contextmanager
def hostile(
    scripts: Mapping[str, Script | list[Script]],
    *,
    address: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Hostile]:
    """Runs until the block ends."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            state.connections += 1
            with contextlib.suppress(OSError):  # the client may leave at any time, and need not trust us
                connection = tls.wrap_socket(self.request, server_side=True) if tls else self.request
                head = _head(connection)
                state.heads.append(head)
                script = state.next_script(head.split(" ")[1])
                if callable(script):
                    script(connection, state.ended)
                else:
                    connection.sendall(script)
                connection.close()

    with _Server((address, port), Handler) as server:
        state = Hostile(server.server_address[1], scripts)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            state.ended.set()
            server.shutdown()
            thread.join()


def _head(connection: socket.socket) -> str:
    head = b""
    while b"\r\n\r\n" not in head:
        more = connection.recv(65536)
        if not more:
            raise ConnectionError
        head += more
    return head.decode()


@dataclass
class Names:
    """`answers`: of each name, the addresses of its first lookup, its second, …; the last one stays. It counts them."""

    answers: Mapping[str, list[Sequence[str]]]
    port: int = 0
    lookups: int = 0

    def resolve(self, request: DNSRecord, _handler: object) -> DNSRecord:
        reply = DNSRecord(DNSHeader(id=request.header.id, qr=1, aa=1, ra=1), q=request.q)
        name, kind = str(request.q.qname).removesuffix("."), QTYPE[request.q.qtype]
        if name not in self.answers:
            reply.header.rcode = RCODE.NXDOMAIN
            return reply
        found = self.answers[name]
        addresses = found[0]
        if kind == "AAAA":  # the second question of a lookup
            self.lookups += 1
            if len(found) > 1:
                found.pop(0)
        for address in addresses:
            version = ip_address(address).version
            if (kind, version) in {("A", 4), ("AAAA", 6)}:
                record = A(address) if version == 4 else AAAA(address)
                reply.add_answer(RR(request.q.qname, request.q.qtype, rdata=record, ttl=0))
        return reply

    def look_up(self, name: str) -> Sequence[str]:
        """Over UDP, as a resolver does: both kinds, IPv4 first."""
        found = []
        for kind in ("A", "AAAA"):
            reply = DNSRecord.parse(DNSRecord.question(name, kind).send("127.0.0.1", self.port, timeout=5))
            if reply.header.rcode == RCODE.NXDOMAIN:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            found += [str(record.rdata) for record in reply.rr]
        return found


@contextmanager
def names(**answers: list[Sequence[str]]) -> Iterator[Names]:
    """A name server on 127.0.0.1; `a_test=` answers for a.test."""
    zone = Names({name.replace("_", "."): found for name, found in answers.items()})
    server = DNSServer(zone, address="127.0.0.1", port=0, logger=DNSLogger(logf=lambda _: None)).server
    zone.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield zone
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
