"""One HTTP call of our own, to the gateway or to ourselves: never longer than its deadline, never redirected.

Async inside, because only a cancelled task keeps a deadline for the whole call, a server that drips included.
"""

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
from pydantic import JsonValue

from oncetune.contracts.strict_json import UnreadableJson, parse
from oncetune.gateway.public_url import only_near

MAX_ANSWER_BYTES = 65_536
_STOP_SECONDS = 0.05  # how often a call looks whether it shall stop


class NoAnswer(Exception):
    """There was no complete answer; the message says why and holds nothing of what was sent."""


class Stopped(Exception):
    """The process ends; whether the call took effect is unknown."""


@dataclass(frozen=True)
class Answer:
    """A complete answer; `document` is its body where that is a JSON object, else None."""

    status: int
    document: dict[str, JsonValue] | None


def call(
    method: str,
    url: str,
    *,
    deadline: timedelta,
    stop: threading.Event,
    headers: Mapping[str, str] | None = None,
    document: JsonValue = None,
) -> Answer:
    """Send it and return the answer, whatever its status; raises NoAnswer, or Stopped as soon as `stop` is set.

    Blocks the calling thread, which has no event loop, for at most `deadline`; only a name server that hangs is
    waited for as long as the resolver itself does.
    """
    seconds = deadline.total_seconds()
    try:
        return asyncio.run(_until(stop, seconds, _send(method, url, seconds, headers or {}, document)))
    except TimeoutError as error:
        raise NoAnswer(f"no answer within {seconds:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise NoAnswer(_reason(error)) from error


async def _until(stop: threading.Event, seconds: float, send: Coroutine[Any, Any, Answer]) -> Answer:
    sending = asyncio.ensure_future(send)
    async with asyncio.timeout(seconds):
        try:
            while not stop.is_set():
                await asyncio.wait({sending}, timeout=_STOP_SECONDS)
                if sending.done():
                    return sending.result()
        finally:
            sending.cancel()
    raise Stopped


async def _send(method: str, url: str, seconds: float, headers: Mapping[str, str], document: JsonValue) -> Answer:
    """Each step within `seconds`, the whole maybe not. A proxy of the environment is for hosts elsewhere."""
    headers = {"accept": "application/json", "accept-encoding": "identity", **headers}
    elsewhere = not only_near(httpx.URL(url).host)
    async with (
        httpx.AsyncClient(timeout=seconds, trust_env=elsewhere, follow_redirects=False) as client,
        client.stream(method, url, headers=headers, json=document) as response,
    ):
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise NoAnswer(f"answered {response.status_code} with more than {MAX_ANSWER_BYTES} bytes")
    return Answer(response.status_code, _object(bytes(body)))


def _object(body: bytes) -> dict[str, JsonValue] | None:
    try:
        document = parse(body)
    except UnreadableJson:
        return None
    return document if isinstance(document, dict) else None


def _reason(error: Exception) -> str:
    """Which error, and the system's own words where the connection failed; a protocol error may quote a header."""
    if not isinstance(error, httpx.ConnectError):
        return type(error).__name__
    cause: BaseException = error
    while deeper := _below(cause):
        cause = deeper
    return f"no connection: {cause}"[:300]


def _below(error: BaseException) -> BaseException | None:
    """What caused it: anyio's own sentence is the same for every cause, and for all addresses of a name."""
    return error.exceptions[-1] if isinstance(error, BaseExceptionGroup) else error.__cause__ or error.__context__
