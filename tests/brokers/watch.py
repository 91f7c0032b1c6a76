"""Stands before an application: notes each event that a sidecar delivers, and may answer in the application's place."""

import asyncio
import json
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oncetune.contracts.topics import DEAD_LETTER_ROUTE
from oncetune.dapr import Reply
from oncetune.status.deliveries import read_dead_letter

_DELIVERIES, _DEAD = "/events/", set(DEAD_LETTER_ROUTE.values())


class Watch:
    """What was delivered, and what to answer: `script` is used up, then the application answers.

    What is `held` gets no answer: clear it to let the server or the sidecar end.
    """

    def __init__(self) -> None:
        self.delivered: Counter[str] = Counter()
        self.dead: Counter[str] = Counter()
        self.held: set[str] = set()
        self.script: defaultdict[str, deque[Reply]] = defaultdict(deque)
        self.bulks: list[int] = []  # how many events each bulk had

    def answer(self, event_id: str, replies: Iterable[Reply]) -> None:
        """Answer the next deliveries of this event so."""
        self.script[event_id].extend(replies)

    def before(self, application: ASGIApp) -> ASGIApp:
        """The application as a sidecar is to see it."""

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or not scope["path"].startswith(_DELIVERIES):
                await application(scope, receive, send)
                return
            body = await Request(scope, receive).body()
            if scope["path"] in _DEAD:
                self.dead[_id(read_dead_letter(body))] += 1
                await _pass_on(application, scope, body, send)
            elif "entries" in json.loads(body):
                await self._deliver_bulk(application, scope, json.loads(body), send)
            else:
                await self._deliver(application, scope, body, receive, send)

        return watched

    async def _deliver(self, application: ASGIApp, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        event_id = str(json.loads(body).get("id"))
        reply = self._delivered(event_id)
        if event_id in self.held:
            await self._silence(receive)
        elif reply is None:
            await _pass_on(application, scope, body, send)
        else:
            await JSONResponse({"status": reply})(scope, receive, send)

    async def _deliver_bulk(self, application: ASGIApp, scope: Scope, bulk: dict[str, Any], send: Send) -> None:
        """The application never sees the entries that the script answers."""
        entries = bulk["entries"]
        self.bulks.append(len(entries))
        replies = {entry["entryId"]: self._delivered(str(entry["event"]["id"])) for entry in entries}
        answers = [{"entryId": entry_id, "status": reply} for entry_id, reply in replies.items() if reply]
        rest = [entry for entry in entries if not replies[entry["entryId"]]]
        if rest:
            answers += await _answers(application, scope, json.dumps(bulk | {"entries": rest}).encode())
        await JSONResponse({"statuses": answers})(scope, _nothing, send)

    def _delivered(self, event_id: str) -> Reply | None:
        """Note a delivery; what the script answers."""
        self.delivered[event_id] += 1
        return self.script[event_id].popleft() if self.script.get(event_id) else None

    async def _silence(self, receive: Receive) -> None:
        """Until the other side has gone or this one is to end."""
        gone = asyncio.ensure_future(receive())
        while not gone.done() and self.held:
            await asyncio.wait([gone], timeout=0.05)
        gone.cancel()


def _id(body: bytes) -> str:
    try:
        return str(json.loads(body)["id"])
    except (ValueError, LookupError, TypeError):
        return ""


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


async def _answers(application: ASGIApp, scope: Scope, body: bytes) -> list[dict[str, str]]:
    """What the application answers to each entry of this bulk."""
    said: list[Message] = []

    async def send(message: Message) -> None:
        said.append(message)

    await _pass_on(application, scope, body, send)
    statuses: list[dict[str, str]] = json.loads(b"".join(message.get("body", b"") for message in said))["statuses"]
    return statuses


async def _pass_on(application: ASGIApp, scope: Scope, body: bytes, send: Send) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    await application(scope, receive, send)
