"""HTTP to a server that may be anything: each question has an answer, and none of them is raised."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from oncetune.cli.checks import shown
from oncetune.cli.client import Document, address
from oncetune.cli.exits import Exit, Failure

_TIMEOUT_SECONDS = 10.0  # for the whole of an answer: a server may drip
_LARGEST_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Answer:
    """What came back. `status` None: nobody answered, `words` say why. No JSON object: `document` is empty."""

    status: int | None
    words: str = ""  # of the transport, or the kind of body where it is no JSON object
    document: Document = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    asked_at: float = 0.0  # Unix seconds by the clock here, halfway between question and answer

    def told(self) -> str:
        """One sentence for a table."""
        if self.status is None:
            return f"it does not answer: {self.words}"
        detail = self.document.get("detail") or self.words or (self.document and shown(self.document)) or "no body"
        return f"it answered {self.status}: {shown(detail)}"


class Visit:
    """One deployment, see `address`; redirects are not followed. Raises Failure USAGE when `url` is none."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        for path in ("/", "/runs"):
            try:
                parsed = httpx.URL(address(self.url, "GET", path))
            except httpx.InvalidURL:
                parsed = httpx.URL()
            if parsed.scheme not in ("http", "https") or not parsed.host:
                raise Failure(f"{url} is not a URL.", "Give --url as http://host:port", Exit.USAGE)
            self._near = parsed.host in ("127.0.0.1", "localhost", "::1")  # no proxy stands before these

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer to one request, read up to 4 MiB and for 10 seconds."""
        typed = {"content-type": "application/json"} if body is not None else {}
        request = httpx.Request(
            method,
            address(self.url, method, path) + path,
            content=body,
            headers={**typed, **(headers or {})},
            params=parameters,
        )
        try:
            return asyncio.run(asyncio.wait_for(self._send(request), _TIMEOUT_SECONDS))
        except TimeoutError:
            return Answer(None, f"no whole answer within {_TIMEOUT_SECONDS:g} s")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Answer(None, shown(str(error) or type(error).__name__))

    async def _send(self, request: httpx.Request) -> Answer:
        async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=not self._near) as client:
            began = time.time()
            answer = await client.send(request, stream=True)
            halfway = (began + time.time()) / 2
            try:
                content = await _beginning(answer)
            finally:
                await answer.aclose()
        document = _document(content)
        words = "" if document is not None else _kind(answer, content)
        return Answer(answer.status_code, words, document or {}, answer.headers, halfway)


async def _beginning(answer: httpx.Response) -> bytes:
    content = bytearray()
    async for piece in answer.aiter_bytes(65536):
        content += piece
        if len(content) > _LARGEST_BYTES:
            break
    return bytes(content)


def _document(content: bytes) -> Document | None:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _kind(answer: httpx.Response, content: bytes) -> str:
    if answer.is_redirect:
        return f"a redirect to {shown(answer.headers.get('location', 'nowhere'))}"
    return f"{answer.headers.get('content-type', 'something')}, no JSON object" if content else "no body"
