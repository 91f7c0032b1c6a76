"""HTTP out: links to a run's results, and the files behind those of a folder (GATEWAY_CONTRACT, section 3)."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send

from oncetune.artifacts.folder import FolderStore
from oncetune.artifacts.kinds import content_type, disposition
from oncetune.artifacts.links import LinkRefused
from oncetune.gateway.callers import SignedCaller
from oncetune.gateway.crowd import seated
from oncetune.gateway.errors import Refusal
from oncetune.gateway.openapi import refusals
from oncetune.ledger.reads import find_run
from oncetune.logs import log
from oncetune.postgres import transaction
from oncetune.status.answers import NOT_FOUND
from oncetune.status.artifact_answers import ArtifactsAnswer
from oncetune.status.links import Downloads, download_path
from oncetune.status.visibility import RunId, visible_run

routes = APIRouter(tags=["runs"])

_UNAVAILABLE = refusals({503: {"artifacts_unavailable": "No link can be made now: s3://bucket refuses: …"}})
_REFUSED_LINKS = refusals(
    {
        403: {"link_expired": "This link has expired: ask for a new one"},
        404: {"artifact_not_found": "There is no such file, or this is no link that was signed here"},
        410: {"artifact_removed": "The results of this run were removed: they are older than they are kept"},
        416: {"range_not_satisfiable": "The file has 9840640 bytes; the range begins after its end"},
        503: {
            "busy": "Too many downloads are under way",
            "database_unavailable": "The database did not answer; whether the request took effect is unknown.",
        },
    }
)
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file", "content": {"application/octet-stream": {}}},
    206: {"description": "The part of it that `Range` asks for", "content": {"application/octet-stream": {}}},
}
_RUN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ATTEMPT = re.compile(r"[1-9][0-9]{0,8}")
_RANGE = re.compile(r"bytes=(?:(?P<first>\d{1,18})-(?P<last>\d{0,18})|-(?P<suffix>\d{1,18}))")
# Whoever opens a report in a browser shows a page that a training wrote: it runs nothing and asks nobody.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",
}


@routes.get("/runs/{run_id}/artifacts", response_model_exclude_none=True, responses=NOT_FOUND | _UNAVAILABLE)
def show_artifacts(run_id: RunId, caller: SignedCaller, request: Request) -> ArtifactsAnswer:
    """Links to the run's results, which work without the gateway's headers for a time."""
    downloads: Downloads = request.app.state.downloads
    with transaction(request.app.state.status) as session:
        run = visible_run(session, run_id, caller)
    return downloads.answer(run, request_base=str(request.base_url))


@dataclass(frozen=True)
class Linked:
    """What a link names; whether there is such a file is another question."""

    run_id: UUID
    attempt: int
    name: str


async def signed_link(
    run_id: RunId,
    attempt: str,
    name: str,
    request: Request,
    expires: Annotated[str, Query(description="Unix seconds")] = "",
    signature: Annotated[str, Query(description="Of the path and `expires`, by this service")] = "",
) -> Linked:
    """Raises Refusal for a link that was not signed here, or has expired."""
    downloads: Downloads = request.app.state.downloads
    if not (_RUN.fullmatch(run_id) and _ATTEMPT.fullmatch(attempt) and _NAME.fullmatch(name)):
        raise _not_found()
    try:
        downloads.links.check(download_path(run_id, attempt, name), expires=expires, signature=signature)
    except LinkRefused as refused:
        if refused.expired:
            raise Refusal(403, "link_expired", "This link has expired: ask for a new one") from refused
        raise _not_found() from refused
    return Linked(UUID(run_id), int(attempt), name)


SignedLink = Annotated[Linked, Depends(signed_link)]


async def seat(request: Request, _link: SignedLink) -> AsyncIterator[None]:
    """So many downloads at once, each until its last byte is sent; raises Refusal 503 to who waited for a seat."""
    async with seated(request.app.state.download_seats, busy="Too many downloads are under way"):
        yield


class TimedFile(FileResponse):
    """A file on its way, within its time: whoever reads too slowly is hung up on."""

    seconds: float = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a response that ends early is never ended properly, so that the client sees it."""
        try:
            async with asyncio.timeout(self.seconds):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            log.warning("artifact.too_slow", outcome="broken", file=Path(self.path).name)


@routes.head("/artifacts/{run_id}/{attempt}/{name}", include_in_schema=False)
@routes.get("/artifacts/{run_id}/{attempt}/{name}", response_class=FileResponse, responses=_REFUSED_LINKS | _FILE)
def download(link: SignedLink, _seat: Annotated[None, Depends(seat)], request: Request) -> FileResponse:
    """One file of a result, to whoever has a link of `/runs/{run_id}/artifacts`; no header of the gateway is read."""
    path, digest = _file(request, link)
    headers = _HEADERS | {"ETag": f'"{digest}"', "Content-Disposition": disposition(link.name)}
    try:
        found = path.stat()
    except FileNotFoundError as error:  # retention was quicker
        raise _removed() from error
    _pass_over_unreadable_range(request, found.st_size)
    file = TimedFile(path, headers=headers, media_type=content_type(link.name), stat_result=found)
    file.seconds = request.app.state.download_deadline.total_seconds()
    return file


def _pass_over_unreadable_range(request: Request, size: int) -> None:
    """Keep `Range` only where it is one range of bytes (RFC 9110, 14.2); raises Refusal for one beyond the file."""
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    backwards = asked and asked["last"] and int(asked["last"]) < int(asked["first"])
    several = len(request.headers.getlist("range")) > 1
    if not asked or backwards or several:
        request.scope["headers"] = [one for one in request.scope["headers"] if one[0].lower() != b"range"]
    elif int(asked["first"] or 0) >= size or (asked["suffix"] and not int(asked["suffix"])):
        detail = f"The file has {size} bytes; the range begins after its end"
        raise Refusal(416, "range_not_satisfiable", detail, headers={"Content-Range": f"bytes */{size}"})


def _file(request: Request, link: Linked) -> tuple[Path, str]:
    """Where the file of a signed link lies, and its hash; raises Refusal when the ledger shows none (any more)."""
    store = request.app.state.downloads.store
    with transaction(request.app.state.status) as session:
        run = find_run(session, link.run_id)
    if run is None or run.attempt != link.attempt or link.name not in (run.files or {}):
        raise _not_found()
    if run.files_removed_at is not None:
        raise _removed()
    path = store.file(link.run_id, link.attempt, link.name) if isinstance(store, FolderStore) else None
    if path is None:
        raise _not_found()
    return path, str((run.files or {})[link.name]["sha256"])


def _not_found() -> Refusal:
    return Refusal(404, "artifact_not_found", "There is no such file, or this is no link that was signed here")


def _removed() -> Refusal:
    return Refusal(410, "artifact_removed", "The results of this run were removed: they are older than they are kept")
