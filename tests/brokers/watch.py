"""Stands before an application: notes each event that a sidecar delivers, and may answer in the application's place."""

import asyncio
import json
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oncetune.contracts.topics import DEAD_LETTER_ROUTE
from oncetune.dapr import Reply
from oncetune.status.deliveries import read_dead_letter

_DELIVERIES, _DEAD = "/events/", set(DEAD_LETTER_ROUTE.values())


@dataclass(frozen=True)
class Hold:
    """No answer, until whoever delivered has gone."""


class Watch:
    """What was delivered, and what to answer: `script[event_id]` is used up, then the application answers."""

    def __init__(self) -> None:
        self.delivered: Counter[str] = Counter()
        self.dead: Counter[str] = Counter()
        self.bulks: list[int] = []
        self.script: defaultdict[str, deque[Reply | Hold]] = defaultdict(deque)

    def answer(self, event_id: str, replies: Iterable[Reply | Hold]) -> None:
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
            else:
                await self._deliver(application, scope, body, receive, send)

        return watched

    async def _deliver(
        self, application: ASGIApp, scope: Scope, body: bytes, receive: Receive, send: Send
    ) -> None:
        document = json.loads(body)
        bulk = document.get("entries")
        if bulk is not None:
            self.bulks.append(len(bulk))
        ids = [str(entry["event"].get("id")) for entry in bulk] if bulk is not None else [str(document.get("id"))]
        self.delivered.update(ids)
        replies = {one: self.script[one].popleft() for one in ids if self.script.get(one)}
        if Hold() in replies.values():
            while (await receive())["type"] != "http.disconnect":
                await asyncio.sleep(0)
        elif not replies:
            await _pass_on(application, scope, body, send)
        elif bulk is None:
            await JSONResponse({"status": replies[ids[0]]})(scope, receive, send)
        else:
            statuses = [
                {"entryId": entry["entryId"], "status": replies[one]}
                for entry, one in zip(bulk, ids, strict=True)
                if one in replies
            ]
            rest = [entry for entry, one in zip(bulk, ids, strict=True) if one not in replies]
            if rest:
                statuses += await _ask(application, scope, json.dumps(document | {"entries": rest}).encode())
            await JSONResponse({"statuses": statuses})(scope, receive, send)


def _id(body: bytes) -> str:
    try:
        return str(json.loads(body)["id"])
    except (ValueError, LookupError, TypeError):
        return ""


async def _pass_on(application: ASGIApp, scope: Scope, body: bytes, send: Send) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    await application(scope, receive, send)


async def _ask(application: ASGIApp, scope: Scope, body: bytes) -> list[Any]:
    """The statuses of what the application answers to these entries."""
    answer = bytearray()

    async def send(message: Message) -> None:
        answer.extend(message.get("body", b""))

    await _pass_on(application, scope, body, send)
    return list(json.loads(bytes(answer))["statuses"])
