"""A run's dataset for a worker that has no database: `POST /runs/{id}/dataset-token`, `GET /api/datasets/download`.

A token is 32 random bytes and works once. It is used up after the first bytes of the dataset were read and found
right, when the caller is still there, just before they are sent: what fails earlier, a HEAD and a Range included,
leaves it whole. It stands in a URL, so it is in no line, span or error of ours.
"""

import asyncio
import base64
import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.types import Send

from oncetune.contracts.run import TERMINAL
from oncetune.datasets.unpacking import BrokenDataset, unpack_pieces
from oncetune.gateway.callers import AdminCaller
from oncetune.gateway.crowd import seated
from oncetune.gateway.errors import Refusal
from oncetune.ledger.downloads import Download, find_download, issue_token, stream_chunks, use_token
from oncetune.ledger.tables import Dataset
from oncetune.logs import log
from oncetune.postgres import DATABASE_AWAY, transaction
from oncetune.trigger.admission import Seat, trigger_state
from oncetune.trigger.openapi import DOWNLOAD_RESPONSES, TOKEN_RESPONSES
from oncetune.trigger.runs import RunId, existing_run

PATH = "/api/datasets/download"
MEDIA_TYPE = "application/x-ndjson"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 bytes, base64url

downloads = APIRouter(tags=["datasets"])


class DownloadToken(BaseModel):
    """Works once, until `expires_at`, and needs no other header."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "token": "E" * 43,
                    "url": f"https://tune.example{PATH}?token={'E' * 43}",
                    "expires_at": 1767007200,
                }
            ]
        }
    )

    token: str
    url: Annotated[str, Field(description="Below DPO_PUBLIC_BASE_URL, else below the address that was asked")]
    expires_at: Annotated[int, Field(description="Unix seconds")]


@downloads.post("/runs/{run_id}/dataset-token", responses=TOKEN_RESPONSES)
def issue_dataset_token(
    run_id: RunId, caller: AdminCaller, _seat: Seat, request: Request, response: Response
) -> DownloadToken:
    """A new right to download the run's dataset once. It may be asked for before the dataset is stored."""
    state, token = trigger_state(request), secrets.token_urlsafe(32)
    with transaction(state.engine) as session:
        run = existing_run(session, run_id)
        expires_at = issue_token(
            session,
            run.id,
            sha256=_hash(token),
            issued_to=caller.user_id,
            lifetime=state.settings.download_token_lifetime,
            limit=state.settings.download_tokens_per_run,
        )
    if expires_at is None:
        many = f"The run has {state.settings.download_tokens_per_run} download tokens that nobody has used; use one"
        raise Refusal(429, "too_many_downloads", many, headers={"Retry-After": "60"})
    log.info("download.granted", outcome="ok", run_id=str(run.id), user_id=caller.user_id)
    response.headers["Cache-Control"] = "no-store"
    base = (state.public_url or str(request.base_url)).rstrip("/")
    return DownloadToken(token=token, url=f"{base}{PATH}?token={token}", expires_at=int(expires_at.timestamp()))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _unknown() -> Refusal:
    return Refusal(401, "bad_token", "This token is unknown, expired or used; ask for another")


def usable(
    request: Request, token: Annotated[str, Query(min_length=1, json_schema_extra={"pattern": _TOKEN.pattern})]
) -> tuple[str, Download, Dataset]:
    """The token's hash and what it stands for; raises Refusal 401, 404 or 409. It is not used up."""
    if not _TOKEN.fullmatch(token):
        raise _unknown()
    with transaction(trigger_state(request).engine) as session:
        found = find_download(session, _hash(token))
    if found is None:
        raise _unknown()
    if found.dataset is None and found.state in TERMINAL:
        raise Refusal(404, "no_dataset", "The run ended before its dataset was stored; the token was not used")
    if found.dataset is None:
        detail = "The run's dataset is not stored yet; come again with the same token"
        raise Refusal(409, "dataset_not_stored", detail, headers={"Retry-After": "5"})
    return _hash(token), found, found.dataset


Usable = Annotated[tuple[str, Download, Dataset], Depends(usable)]


async def download_seat(request: Request, _usable: Usable) -> AsyncIterator[None]:
    """So many downloads at once, each until its last byte is sent; raises Refusal 503 to who waited for a seat."""
    async with seated(trigger_state(request).download_seats, busy="Too many downloads are under way"):
        yield


def _headers(found: Download, dataset: Dataset) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(dataset.sha256)).decode()
    return {
        "Content-Length": str(dataset.byte_count),
        "Content-Disposition": f'attachment; filename="{found.run_id}.jsonl"',
        "Repr-Digest": f"sha-256=:{digest}:",  # RFC 9530
        "Accept-Ranges": "none",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


class Rows(StreamingResponse):
    """A dataset on its way. One that ends early is never ended properly: the server hangs up, the client sees it."""

    media_type = MEDIA_TYPE

    def __init__(self, pieces: Iterator[bytes], *, seconds: float, about: dict[str, Any], headers: dict[str, str]):
        super().__init__(pieces, headers=headers)
        self._seconds = seconds
        self._about = about

    async def stream_response(self, send: Send) -> None:
        """Send it within its time, and say in one line what became of it."""
        outcome, reason = "broken", "disconnected"
        try:
            async with asyncio.timeout(self._seconds):
                await super().stream_response(send)
            outcome, reason = "ok", ""
        except (BrokenDataset, TimeoutError, *DATABASE_AWAY) as error:
            reason = type(error).__name__
        finally:
            tell = log.warning if reason else log.info
            tell("download.ended", outcome=outcome, **self._about, **({"reason": reason} if reason else {}))


@downloads.get(PATH, response_class=StreamingResponse, responses=DOWNLOAD_RESPONSES)
async def download_dataset(found: Usable, _seat: Annotated[None, Depends(download_seat)], request: Request) -> Response:
    """The run's dataset as canonical JSONL, to whoever brings its token, once. Parts of it are not served."""
    sha256, download, dataset = found
    if request.headers.get("range", "").lower().startswith("bytes="):  # RFC 9110: other units are passed over
        size = {"Content-Range": f"bytes */{dataset.byte_count}", "Accept-Ranges": "none"}
        raise Refusal(416, "no_ranges", "A download is whole or not at all; the token was not used", headers=size)
    state = trigger_state(request)
    pieces = unpack_pieces(
        stream_chunks(state.engine, dataset.sha256), sha256=dataset.sha256, byte_count=dataset.byte_count
    )
    first = await run_in_threadpool(next, pieces)
    if await request.is_disconnected():
        return Response(status_code=400)  # nobody is there to read it
    if not await run_in_threadpool(_use, state.engine, sha256):
        raise _unknown()
    return Rows(
        chain([first], pieces),
        seconds=state.settings.download_deadline.total_seconds(),
        about={"run_id": str(download.run_id), "bytes": dataset.byte_count},
        headers=_headers(download, dataset),
    )


@downloads.head(PATH, include_in_schema=False)
def describe_download(found: Usable) -> Response:
    """The headers of a download; the token stays as it is."""
    return Response(headers=_headers(*found[1:]), media_type=MEDIA_TYPE)


def _use(engine: Any, sha256: str) -> bool:
    with transaction(engine) as session:
        return use_token(session, sha256)
