"""A gateway to try with: services register, calls under `/finetune/` are signed and forwarded to the newest of them.

A DEVELOPMENT TOOL. It holds one registration in memory, knows two callers by tokens of its own making and offers no
TLS. What it sends and expects is GATEWAY_CONTRACT, sections 1 and 4.
"""

import hmac
import json
import secrets
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Literal

import httpx
from fastapi import Body, FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import AfterValidator, BaseModel, Field
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from oncetune.gateway.claims import sign
from oncetune.gateway.errors import Refusal, answer_refusals
from oncetune.gateway.public_url import split_url
from oncetune.logs import log

_PATIENCE = httpx.Timeout(60.0, connect=5.0)
_KEPT_OUT = {"host", "content-length", "connection", "transfer-encoding", "authorization", "date", "server", "expect"}
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]


def _reachable(url: str) -> str:
    """What every reader takes apart alike; the rest would be an error at each call."""
    parts = split_url(url)
    try:
        host = httpx.URL(url).host  # which httpx decodes only now
    except (httpx.InvalidURL, UnicodeError):
        host = ""
    if parts is None or parts.query or parts.fragment or not host:
        raise ValueError("not a URL of the form https://host[:port][/path]")
    return url


class Registration(BaseModel):
    """What a service says of itself; `base_url` is where calls are forwarded to."""

    base_url: Annotated[str, AfterValidator(_reachable)]
    version: Annotated[str, Field(max_length=100)]
    ttl_seconds: Annotated[int, Field(gt=0, le=31 * 24 * 3600)]


@dataclass(frozen=True)
class Person:
    """Somebody whom the gateway knows."""

    user_id: str
    admin: bool


@dataclass
class DevelopmentGateway:
    """Its secrets, its two callers by token, and who registered last. Any thread may ask."""

    shared_secret: str
    register_secret: str
    header_prefix: str = "X-Novalto"
    max_body_bytes: int = 64 * 1024 * 1024  # the most that a service can be set to take
    user_token: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    admin_token: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    _registered: tuple[Registration, float] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def register(self, registration: Registration) -> None:
        """Forward to this service until its time ran out or another comes."""
        with self._lock:
            self._registered = (registration, time.monotonic() + registration.ttl_seconds)

    def base_url(self) -> str | None:
        """Where to forward; None while nobody is registered or the registration ran out."""
        with self._lock:
            registered = self._registered
        if registered is None or registered[1] <= time.monotonic():
            return None
        return registered[0].base_url.rstrip("/")

    def person(self, authorization: str) -> Person:
        """The caller behind `Bearer TOKEN`; raises Refusal 401."""
        given = authorization.removeprefix("Bearer ").encode("latin-1")
        known = {self.user_token: Person("user", False), self.admin_token: Person("admin", True)}
        for token, person in known.items():
            if hmac.compare_digest(given, token.encode()):
                return person
        raise Refusal(401, "unknown_token", "Send Authorization: Bearer with one of the tokens printed at the start")

    def signed(self, person: Person) -> dict[str, str]:
        """The two headers that a service verifies."""
        claims = json.dumps({"user_id": person.user_id, "admin": person.admin, "iat": int(time.time())})
        prefix = self.header_prefix
        return {f"{prefix}-User": claims, f"{prefix}-Signature": sign(claims.encode(), self.shared_secret)}


def create_gateway(gateway: DevelopmentGateway) -> FastAPI:
    """The gateway as an app: `POST /register`, `/finetune/{path}` and `GET /health`."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with httpx.AsyncClient(timeout=_PATIENCE, trust_env=False) as client:
            app.state.client = client
            yield

    app = FastAPI(title="oncetune development gateway", lifespan=lifespan, openapi_url=None)
    answer_refusals(app)

    @app.get("/health")
    def health() -> dict[str, str | None]:
        return {"status": "healthy", "kind": "development gateway", "registered": gateway.base_url()}

    @app.post("/register")
    def register(
        registration: Annotated[Registration, Body()],
        x_dpo_register_secret: Annotated[str, Header()] = "",
    ) -> dict[Literal["status"], str]:
        given = x_dpo_register_secret.encode("latin-1")
        if not hmac.compare_digest(given, gateway.register_secret.encode()):
            raise Refusal(401, "bad_register_secret", "X-DPO-Register-Secret is missing or wrong")
        gateway.register(registration)
        log.info("service.registered", base_url=registration.base_url, ttl_seconds=registration.ttl_seconds)
        return {"status": "registered"}

    @app.api_route("/finetune/{path:path}", methods=_METHODS)
    async def forward(request: Request, authorization: Annotated[str, Header()] = "") -> Response:
        person = gateway.person(authorization)
        base_url = gateway.base_url()
        if base_url is None:
            raise Refusal(503, "nobody_registered", "No service is registered here", headers={"Retry-After": "5"})
        return await _forward(request, base_url, gateway.signed(person), gateway.max_body_bytes)

    return app


async def _forward(request: Request, base_url: str, signed: dict[str, str], limit: int) -> Response:
    """Send the call on as it is, byte for byte in both directions, under the caller's signed claims."""
    replaced = {name.lower().encode() for name in signed} | {name.encode() for name in _KEPT_OUT}
    headers = [(name, value) for name, value in request.headers.raw if name not in replaced]
    headers += [(name.encode(), value.encode()) for name, value in signed.items()]
    path = request.scope["raw_path"].split(b"?")[0].removeprefix(b"/finetune").decode("ascii")
    query = request.scope["query_string"].decode("latin-1")
    client: httpx.AsyncClient = request.app.state.client
    length = request.headers.get("content-length", "")
    has_body = length not in ("", "0") or "transfer-encoding" in request.headers
    outgoing = client.build_request(
        request.method,
        f"{base_url}{path}" + (f"?{query}" if query else ""),
        headers=headers,
        content=_bounded(request, limit) if has_body else None,
    )
    try:
        answer = await client.send(outgoing, stream=True)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody is there to read it
    except httpx.HTTPError as error:
        log.warning("gateway.service_away", reason=type(error).__name__)
        detail = "The registered service did not answer"
        return JSONResponse({"detail": detail, "code": "service_unavailable"}, 502)
    kept = {name: value for name, value in answer.headers.items() if name not in _KEPT_OUT}
    # What httpx would decode goes through as it came, since its headers do.
    return StreamingResponse(
        answer.aiter_raw(), answer.status_code, headers=kept, background=BackgroundTask(answer.aclose)
    )


async def _bounded(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The caller's body as it comes in; raises Refusal 413 beyond `limit` bytes."""
    seen = 0
    async for chunk in request.stream():
        seen += len(chunk)
        if seen > limit:
            raise Refusal(413, "body_too_large", f"The body is larger than {limit} bytes")
        yield chunk
