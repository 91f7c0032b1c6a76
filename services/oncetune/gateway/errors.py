"""Every refusal has one shape: `{"detail": "<sentence>", "code": "<snake_case word>"}`."""

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy import Engine, event
from starlette.exceptions import HTTPException

from oncetune.logs import Outage
from oncetune.postgres import DATABASE_AWAY


class Refusal(Exception):
    """The request is answered with this status; `detail` is a sentence that says what to do."""

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: str
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.body = {"detail": detail, "code": code, **more}
        self.headers = dict(headers or {})


_WORDS = {404: "not_found", 405: "method_not_allowed"}


def answer_refusals(app: FastAPI) -> None:
    """Give every error the contract's shape; FastAPI's 422 becomes 400, an absent database 503, a bug 500."""

    @app.exception_handler(Refusal)
    async def refused(_request: Request, refusal: Refusal) -> JSONResponse:
        return JSONResponse(refusal.body, refusal.status, headers=refusal.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place, *names = (str(part) for part in first["loc"])
        where = ".".join(names if place == "body" else names[:1]) or place  # what follows is the type's own name
        return JSONResponse({"detail": f"{where}: {first['msg']}", "code": "invalid_request"}, 400)

    @app.exception_handler(HTTPException)
    async def http(_request: Request, error: HTTPException) -> JSONResponse:
        code = _WORDS.get(error.status_code, "http_error")
        return JSONResponse({"detail": str(error.detail), "code": code}, error.status_code, headers=error.headers)

    app.state.outage = Outage(away="database.away", back="database.back")

    async def away(_request: Request, error: Exception) -> JSONResponse:
        app.state.outage.goes_on(error)
        detail = "The database did not answer; whether the request took effect is unknown. Repeat it with its key."
        return JSONResponse({"detail": detail, "code": "database_unavailable"}, 503, headers={"Retry-After": "5"})

    @app.exception_handler(Exception)
    async def broken(_request: Request, _error: Exception) -> JSONResponse:
        """The server logs the traceback and closes the connection: said, or the caller's next request is reset."""
        return JSONResponse(
            {"detail": "Something broke here, not in the request", "code": "internal_error"},
            500,
            {"Connection": "close"},
        )

    for kind in DATABASE_AWAY:
        app.add_exception_handler(kind, away)


def answer_with(app: FastAPI, engine: Engine) -> None:
    """Requests are answered with this engine's help: what it commits ends an outage that they told."""
    event.listen(engine, "commit", lambda _connection: app.state.outage.over())
