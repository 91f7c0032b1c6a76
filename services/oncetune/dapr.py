"""Dapr and nothing of ours: publish a CloudEvent through the sidecar or straight to its subscribers, answer a
delivery, check the sidecar's token.

What the sidecar does with an answer: SUCCESS acknowledges, RETRY goes through the resiliency policy and then to the
dead letters, DROP goes to the dead letters at once. Anything else (a 404, FastAPI's 422, an unknown word) loses or
loops, so a handler always answers one of the three.
"""

import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from typing import Any

import httpx
from dapr.clients import DaprClient
from dapr.clients.exceptions import DaprGrpcError
from dapr.clients.http.helpers import get_api_url
from dapr.conf import settings as sdk
from pydantic import JsonValue
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from oncetune.contracts.envelope import CONTENT_TYPE
from oncetune.contracts.topics import DEAD_LETTER_ROUTE, PUBSUB, ROUTE, RUN_LIFECYCLE, RUN_REQUESTED

TOKEN_HEADER = "dapr-api-token"
MAX_DELIVERY_BYTES = 4 * 1024 * 1024  # daprd's own --max-body-size
_HINT_DEADLINE = timedelta(seconds=1)  # a trainer that hangs holds up no event of another run for longer
DELIVERY_PATHS = ("/dapr/", "/events/")
QUORUM = {"queueType": "quorum"}  # of every subscription: on RabbitMQ a queue that outlives a node; elsewhere nothing

Document = dict[str, JsonValue]
Publish = Callable[[str, Document, timedelta], None]  # topic, event, deadline; raises NotPublished


class Reply(StrEnum):
    """The three words that a sidecar understands."""

    SUCCESS = "SUCCESS"
    RETRY = "RETRY"
    DROP = "DROP"


class NotPublished(Exception):
    """Nobody confirmed to have taken the event: publish it again later. It may have arrived all the same."""


def sidecar_publisher() -> Publish:
    """Publish through the sidecar of this process (`DAPR_GRPC_PORT`, `DAPR_API_TOKEN`), our CloudEvent kept whole.

    The client is made at the first publish, since its constructor waits for the sidecar. One thread may use it.
    """
    client: DaprClient | None = None

    def publish(topic: str, document: Document, deadline: timedelta) -> None:
        nonlocal client
        sdk.DAPR_API_TIMEOUT_SECONDS = deadline.total_seconds()  # the SDK has no deadline of its own
        sdk.DAPR_HEALTH_TIMEOUT = deadline.total_seconds()
        try:
            if client is None:
                require_sidecar(deadline)
                client = DaprClient()
            client.publish_event(PUBSUB, topic, json.dumps(document), data_content_type=CONTENT_TYPE)
        except DaprGrpcError as error:
            raise NotPublished(f"{error.code()}: {error.details()}"[:500]) from error
        except (TimeoutError, OSError, httpx.HTTPError) as error:
            raise NotPublished(f"sidecar: {error or type(error).__name__}"[:500]) from error

    return publish


def require_sidecar(deadline: timedelta) -> None:
    """Raise httpx.HTTPError unless it is healthy: the client's own look waits for ever for one that hangs."""
    url = f"{get_api_url()}/healthz/outbound"
    headers = {TOKEN_HEADER: sdk.DAPR_API_TOKEN} if sdk.DAPR_API_TOKEN else None
    httpx.get(url, headers=headers, timeout=deadline.total_seconds(), trust_env=False).raise_for_status()


@contextmanager
def direct_publisher(status_url: str, trainer_urls: tuple[str, ...], token: str) -> Iterator[Publish]:
    """Hand the same CloudEvent to the same routes, without sidecar and broker, on one machine.

    Status decides whether it was published; the trainer's copy of `run.requested` is a hint that may be lost.
    What status drops goes to its dead-letter route, as a sidecar would send it.
    """
    client = httpx.Client(headers={TOKEN_HEADER: token, "content-type": CONTENT_TYPE}, trust_env=False)

    def post(url: str, body: Mapping[str, Any], deadline: timedelta) -> Any:
        answer = client.post(url, content=json.dumps(body), timeout=deadline.total_seconds())
        answer.raise_for_status()
        return answer.json()

    def publish(topic: str, document: Document, deadline: timedelta) -> None:
        try:
            if topic == RUN_LIFECYCLE:
                entry = {"entryId": "1", "event": document, "contentType": CONTENT_TYPE}
                status = post(status_url + ROUTE[topic], {"entries": [entry]}, deadline)["statuses"][0]["status"]
            else:
                status = post(status_url + ROUTE[topic], document, deadline)["status"]
            if status == Reply.DROP:
                post(status_url + DEAD_LETTER_ROUTE[topic], document, deadline)
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            raise NotPublished(f"status: {type(error).__name__}") from error
        if topic == RUN_REQUESTED:
            for url in trainer_urls:
                try:
                    post(url + ROUTE[topic], document, min(deadline, _HINT_DEADLINE))
                except (httpx.HTTPError, ValueError):
                    continue  # its poll finds the run
        if status not in (Reply.SUCCESS, Reply.DROP):
            raise NotPublished(f"status answered {status!r:.40}")

    with client:
        yield publish


async def delivered(request: Request) -> bytes:
    """FastAPI dependency: the raw body of a delivery; b"" when it is larger than a sidecar would ever send.

    Raw, because a typed parameter would answer 422, which a sidecar retries for ever.
    """
    body = await _at_most(MAX_DELIVERY_BYTES, request)
    return body if len(body) <= MAX_DELIVERY_BYTES else b""


async def delivered_dead_letter(request: Request) -> bytes:
    """FastAPI dependency: the raw body of a dead letter, which base64 made a third larger; cut where it is beyond."""
    return await _at_most(2 * MAX_DELIVERY_BYTES, request)


async def _at_most(limit: int, request: Request) -> bytes:
    """The body, or as soon as it is larger than `limit` its beginning; b"" when the sender goes away."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                break
    except ClientDisconnect:
        return b""
    return bytes(body)


class RequireAppToken:
    """ASGI: only the sidecar, which knows `APP_API_TOKEN`, may reach the Dapr routes, `/dapr/subscribe` included."""

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(DELIVERY_PATHS):
            given = dict(scope["headers"]).get(TOKEN_HEADER.encode(), b"")
            if not hmac.compare_digest(given, self._token):
                refusal = JSONResponse({"detail": "dapr-api-token is missing or wrong", "code": "bad_app_token"}, 401)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)
