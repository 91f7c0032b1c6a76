"""The web server that datasets of URLs come from, as such servers are: now and then busy, slow, or gone half-way.

No two of its answers are alike, so a dataset tells which answer it is; the hashes of all that may have arrived whole
are in a file, written before their last bytes leave.
"""

import gzip
import json
import random
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

ROWS = 60  # a few KiB
_PIECES = 4
_PAUSES = (0.02, 0.02, 0.4)  # seconds after a piece: of an answer that is slow, too
_WELL, _BUSY, _CUT = ("whole",) * 6, "busy", "cut"


class DatasetServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1; `journal` takes a line for each answer, and is read by `read_served`."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, journal: Path, *, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self._journal = journal.open("a", buffering=1)
        self._lock = threading.Lock()
        self._chance = random.Random(seed)
        self._answers = 0

    @property
    def host(self) -> str:
        """As a setting that allows hosts names it."""
        return f"127.0.0.1:{self.server_port}"

    def url(self, name: str, prompt: str) -> str:
        """Of a dataset whose first row has this prompt. Any number of runs may have names of their own."""
        return f"http://{self.host}/{quote(name, safe='')}.jsonl?{quote(prompt)}"

    def next_answer(self) -> tuple[int, str, float, bool]:
        """Its number, what becomes of it, the pause after each of its pieces, and whether it is compressed."""
        with self._lock:
            self._answers += 1
            ends = self._chance.choice((*_WELL, _BUSY, _CUT))
            return self._answers, ends, self._chance.choice(_PAUSES), self._chance.random() < 0.5

    def write_down(self, name: str, rows: bytes) -> None:
        """The answer to a fetch for `name` is about to be whole."""
        with self._lock:
            self._journal.write(json.dumps([name, sha256(rows).hexdigest()]) + "\n")

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # whoever fetches may be killed
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # a bug of this file

    def server_close(self) -> None:
        super().server_close()
        self._journal.close()


class _Answer(BaseHTTPRequestHandler):
    server: DatasetServer

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        name = unquote(asked.path).removeprefix("/").removesuffix(".jsonl")
        number, ends, pause, compressed = self.server.next_answer()
        rows = _rows(unquote(asked.query), f"{name} {number}")
        body = gzip.compress(rows) if compressed else rows
        self.send_response_only(503 if ends == _BUSY else 200)
        self.send_header("Content-Length", "0" if ends == _BUSY else str(len(body)))
        self.end_headers()
        if ends != _BUSY:
            self._send(body, pause, name, None if ends == _CUT else rows)

    def _send(self, body: bytes, pause: float, name: str, rows: bytes | None) -> None:
        """Without `rows` it breaks off half-way."""
        size = -(-len(body) // _PIECES)
        for number in range(_PIECES if rows is not None else _PIECES // 2):
            if rows is not None and number == _PIECES - 1:
                self.server.write_down(name, rows)
            self.wfile.write(body[number * size : (number + 1) * size])
            threading.Event().wait(pause)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _rows(prompt: str, mark: str) -> bytes:
    """In the form in which datasets are kept: their hash is that of the stored one."""
    prompts = (prompt, *(f"What is {number} + 1?" for number in range(1, ROWS)))
    rows = ({"prompt": asked, "chosen": "Très volontiers.", "rejected": f"No. {mark}"} for asked in prompts)
    return b"".join(json.dumps(row, ensure_ascii=False, sort_keys=True).encode() + b"\n" for row in rows)


@contextmanager
def dataset_server(journal: Path, *, seed: int = 0) -> Iterator[DatasetServer]:
    """Serves while inside."""
    with DatasetServer(journal, seed=seed) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def read_served(journal: Path) -> Mapping[str, list[str]]:
    """The hashes of what may have arrived whole under each name, in the order of the answers."""
    served = defaultdict(list)
    for line in journal.read_text().splitlines():
        name, rows_sha256 = json.loads(line)
        served[name].append(rows_sha256)
    return served
