"""FastAPI dependencies: the verified caller of a request, and the admin among them."""

from typing import Annotated

from fastapi import Depends, Request

from oncetune.gateway.claims import Caller, read_caller
from oncetune.gateway.errors import Refusal


async def caller(request: Request) -> Caller:
    """Whoever the gateway signed for; raises Refusal 401."""
    return read_caller(request.headers, request.app.state.gateway)


async def admin(who: Annotated[Caller, Depends(caller)]) -> Caller:
    """A caller who may trigger and cancel; raises Refusal 401 or 403."""
    if not who.admin:
        raise Refusal(403, "admin_required", "This route needs a caller whose claims say admin: true")
    return who


SignedCaller = Annotated[Caller, Depends(caller)]
AdminCaller = Annotated[Caller, Depends(admin)]
