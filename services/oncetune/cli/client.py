"""HTTP to trigger and status, signed as the gateway signs."""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import JsonValue

from oncetune.cli.exits import Exit, Failure
from oncetune.gateway.claims import sign
from oncetune.local.credentials import read_gateway_secret

SEARCHED = 200  # of anything, newest first: as many as the server gives in one answer
SECRET_NAME = "DPO_GATEWAY_SHARED_SECRET"
_PREFIX_NAME = "DPO_GATEWAY_HEADER_PREFIX"
_CLAIMS_SECONDS = 300
_TIMEOUT_SECONDS = 30.0

Document = dict[str, JsonValue]


class Unreachable(Failure):
    """Nobody answered, or a server that is starting or busy did: the same request may be sent again."""

    def __init__(self, what: str, remedy: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(what, remedy)
        self.retry_after = retry_after  # seconds, when the server said so


def address(url: str, method: str, path: str) -> str:
    """Where this request goes: `url`, or of two with a comma between, trigger's and status's, the one that knows it."""
    trigger, _, status = url.partition(",")
    of_status = path.startswith("/dead-letters") or (path.startswith("/runs") and method == "GET")
    return (status.strip() if status and of_status else trigger).rstrip("/")


def is_local(url: str) -> bool:
    """Whether this is on this machine, and so before any proxy. Raises httpx.InvalidURL."""
    return httpx.URL(url).host in ("127.0.0.1", "localhost", "::1")


class Client:
    """One user's way to one deployment, see `address`. `with Client(...) as client:`"""

    def __init__(self, url: str, *, user: str, secret: str) -> None:
        self.url = url.rstrip("/")
        self._user = user
        self._secret = secret
        try:
            self._http = httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=not is_local(address(url, "GET", "/")))
        except httpx.InvalidURL as error:
            raise Failure(f"{url} is not a URL.", "Give --url as http://host:port", Exit.USAGE) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **parameters: str | int) -> Document:
        """The JSON object at this path; raises Failure, and Unreachable when it is worth another try."""
        return self._send("GET", path, parameters=parameters)[0]

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[Document, httpx.Headers]:
        """Send a JSON body; raises as `get` does."""
        return self._send("POST", path, body=body, headers={"content-type": "application/json", **headers})

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        parameters: Mapping[str, str | int] | None = None,
    ) -> tuple[Document, httpx.Headers]:
        signed = {**signed_headers(self._user, self._secret), **(headers or {})}
        with self._told_apart():
            answer = self._http.request(
                method, address(self.url, method, path) + path, content=body, headers=signed, params=parameters
            )
        return self._document(answer), answer.headers

    @contextmanager
    def stream(self, path: str, **parameters: str) -> Iterator[httpx.Response]:
        """The answer at this path, asked for without a signature; its body is read inside. Raises as `get` does."""
        with (
            self._told_apart(),
            self._http.stream("GET", address(self.url, "GET", path) + path, params=parameters) as answer,
        ):
            if not answer.is_success:
                answer.read()
                self._document(answer)
            yield answer

    @contextmanager
    def _told_apart(self) -> Iterator[None]:
        """What goes wrong on the way, in words."""
        try:
            yield
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise Failure(f"{self.url} is not a URL.", "Give --url as http://host:port", Exit.USAGE) from error
        except UnicodeEncodeError as error:  # an argument's bytes that are no text
            raise Failure("An option is not UTF-8.", "", Exit.USAGE) from error
        except httpx.RequestError as error:
            reason = str(error) or type(error).__name__
            raise Unreachable(f"{self.url} does not answer: {reason}", "Is `oncetune up` running?") from error

    def _document(self, answer: httpx.Response) -> Document:
        """The JSON object of a success; raises Failure for any other answer."""
        try:
            document = answer.json() if answer.content else {}
        except ValueError as error:
            raise _refusal(answer, {}, self.url) from error
        if not isinstance(document, dict):
            document = {}
        if answer.is_success:
            return document
        raise _refusal(answer, document, self.url)


def objects(value: object) -> list[dict[str, Any]]:
    """The objects of a JSON array; whatever else the server sent there is passed over."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def the_one(ids: Sequence[str], given: str, *, kind: str, see: str) -> str:
    """That of the newest SEARCHED `ids` which `given` begins; raises Failure USAGE when none or several begin so."""
    fitting = [one for one in ids if given and one.startswith(given.lower())]
    if len(fitting) == 1:
        return fitting[0]
    what = f"{len(fitting)} {kind}s begin" if fitting else f"None of the newest {SEARCHED} {kind}s begins"
    raise Failure(f"{what} with {given!r}.", f"See `{see}`.", Exit.USAGE)


def find_secret(data: Path) -> str:
    """The gateway's secret: from the environment, else of the `oncetune up` on this folder; raises Failure."""
    secret = os.environ.get(SECRET_NAME) or read_gateway_secret(data)
    if not secret:
        raise Failure(
            "There is no secret to sign the request with.",
            f"Set {SECRET_NAME}, or give the data folder of a running `oncetune up` with --data.",
            Exit.AUTHENTICATION,
        )
    return secret


def signed_headers(user: str, secret: str) -> dict[str, str]:
    """The gateway's two headers for an admin of this name, valid for five minutes; their prefix is the server's."""
    prefix = os.environ.get(_PREFIX_NAME) or "X-Novalto"
    now = int(time.time())
    claims = json.dumps({"user_id": user, "admin": True, "iat": now, "exp": now + _CLAIMS_SECONDS})
    return {f"{prefix}-User": claims, f"{prefix}-Signature": sign(claims.encode(), secret)}


def _refusal(answer: httpx.Response, document: Mapping[str, Any], url: str) -> Failure:
    said = document.get("detail")
    detail = str(said) if said else f"{url} answered {answer.status_code} {answer.reason_phrase}"
    if answer.status_code in (401, 403):
        remedy = f"Is the secret that of this server? {SECRET_NAME} goes before --data."
        return Failure(detail, remedy, Exit.AUTHENTICATION)
    if answer.status_code in (409, 502, 503, 504):
        wait = answer.headers.get("retry-after", "")
        return Unreachable(detail, retry_after=float(wait) if wait.isdigit() else None)
    if answer.status_code == 429 and document.get("run_id"):
        return Failure(detail, f"The active run: {document['run_id']}")
    return Failure(detail)
