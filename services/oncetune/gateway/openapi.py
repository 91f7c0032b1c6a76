"""The API as an OpenAPI document: made from the routes, with the contract's words where FastAPI has none of its own.

A room declares what its routes refuse (`refusals`) and the schemas of what it reads raw (`add_schemas`). What follows
from the code is added here: who must be signed for, and what every route may answer. The delivery routes of Dapr are
the sidecar's business and stay out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import RouteContext, iter_route_contexts

from oncetune.dapr import DELIVERY_PATHS
from oncetune.gateway.callers import admin, caller
from oncetune.gateway.settings import GatewaySettings

Schema = dict[str, Any]
Refusals = Mapping[int, Mapping[str, str]]  # status → code → an example of its sentence

_MEANING = {
    400: "The request is wrong; `detail` says where",
    401: "Nobody whom the gateway signed for",
    403: "The caller is no admin",
    404: "There is no such thing, or it is another caller's",
    408: "The request took too long to arrive",
    409: "In conflict with a request that is still in flight",
    410: "It was there, and is no more",
    413: "Too large",
    416: "A part was asked for, and only the whole is served",
    422: "Understood and refused; `detail` says why",
    429: "Too many, or too soon",
    500: "A fault of the service",
    503: "Not now; repeat it later",
}
_RETRY_LATER = (409, 429, 503)
OF_ANY: Refusals = {
    400: {"invalid_http": "These bytes are not an HTTP/1.1 request"},
    500: {"internal_error": "Something broke here, not in the request"},
    503: {
        "database_unavailable": "The database did not answer; whether the request took effect is unknown.",
        "busy": "Too many requests are in work here; repeat this one with its Idempotency-Key",
    },
}
_OF_SIGNED: Refusals = {
    401: {
        "missing_authentication": "Missing authentication headers",
        "bad_authentication": "An authentication header stands twice",
        "bad_signature": "The signature does not fit the user header",
        "malformed_claims": "The user header is neither JSON nor base64url of JSON",
        "expired_claims": "The claims have expired",
    }
}
_OF_ADMIN: Refusals = {403: {"admin_required": "This route needs a caller whose claims say admin: true"}}
_OF_PARAMETERS: Refusals = {400: {"invalid_request": "limit: Input should be less than or equal to 200"}}


def refusals(*tables: Refusals) -> dict[int | str, Schema]:
    """FastAPI's `responses` for these refusals: the one shape, the codes of each status, an example for each code."""
    merged: dict[int, dict[str, str]] = {}
    for table in tables:
        for status, sentences in table.items():
            merged.setdefault(status, {}).update(sentences)
    return {status: _refusal(status, sentences) for status, sentences in sorted(merged.items())}


def _refusal(status: int, sentences: Mapping[str, str]) -> Schema:
    schema = {
        "type": "object",
        "required": ["detail", "code"],
        "properties": {"detail": {"type": "string"}, "code": {"type": "string", "enum": list(sentences)}},
        "additionalProperties": {"type": "string"},
    }
    examples = {code: {"value": {"detail": detail, "code": code}} for code, detail in sentences.items()}
    response: Schema = {
        "description": _MEANING[status],
        "content": {"application/json": {"schema": schema, "examples": examples}},
    }
    if status in _RETRY_LATER:
        seconds = {"schema": {"type": "integer", "minimum": 0}, "required": True, "example": 5}
        response["headers"] = {"Retry-After": seconds | {"description": "Seconds to wait before the next try"}}
    return response


def add_schemas(app: FastAPI, schemas: Schema) -> None:
    """Add components that only the settings complete, the models' names say; called when the service starts."""
    app.state.schemas = getattr(app.state, "schemas", {}) | schemas
    app.openapi_schema = None


def describe_api(app: FastAPI) -> None:
    """Let `/openapi.json` answer with the document of this module, made at the first question."""

    def openapi() -> Schema:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's own way to extend it


def _document(app: FastAPI) -> Schema:
    public = [one for one in iter_route_contexts(app.routes) if not str(one.path).startswith(DELIVERY_PATHS)]
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=public)
    components = document.setdefault("components", {})
    schemas = components.get("schemas", {}) | getattr(app.state, "schemas", {})
    components["schemas"] = {name: schemas[name] for name in sorted(schemas) if name not in _OF_FASTAPI}
    gateway: GatewaySettings | None = getattr(app.state, "gateway", None)
    if gateway is not None:
        components["securitySchemes"] = _security_schemes(gateway.header_prefix)
    for context, operation in _operations(public, document["paths"]):
        _complete(context, operation)
    return document


_OF_FASTAPI = ("HTTPValidationError", "ValidationError")


def _security_schemes(prefix: str) -> Schema:
    def header(name: str, description: str) -> Schema:
        return {"type": "apiKey", "in": "header", "name": f"{prefix}-{name}", "description": description}

    return {
        "GatewayUser": header(
            "User",
            "The caller's claims, JSON or base64url of JSON: `user_id` (or `sub`, `uid`), `admin`, `iat`, `exp`.",
        ),
        "GatewaySignature": header(
            "Signature", "Hex HMAC-SHA256 of the exact bytes of the user header, keyed with the shared secret."
        ),
    }


def _operations(contexts: list[RouteContext], paths: Schema) -> Iterator[tuple[RouteContext, Schema]]:
    for context in contexts:
        for method in context.methods or ():
            operation = paths.get(str(context.path_format), {}).get(method.lower())
            if operation is not None:
                yield context, operation


def _complete(context: RouteContext, operation: Schema) -> None:
    """Add what follows from the route's dependencies; FastAPI's 422 is a 400 here, where it can happen at all."""
    responses = operation["responses"]
    tables: list[Refusals] = []
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
        if any(parameter["in"] != "path" for parameter in operation["parameters"]):
            tables.append(_OF_PARAMETERS)
    if _depends(context.dependant, caller):
        operation["security"] = [{"GatewayUser": [], "GatewaySignature": []}]
        tables += [OF_ANY, _OF_SIGNED]
    if _depends(context.dependant, admin):
        tables.append(_OF_ADMIN)
    for status, response in refusals(*tables).items():
        _merge(responses.setdefault(str(status), response), response)
    operation["responses"] = dict(sorted(responses.items()))


def _merge(known: Schema, more: Schema) -> None:
    ours, theirs = known["content"]["application/json"], more["content"]["application/json"]
    ours["examples"] |= theirs["examples"]
    ours["schema"]["properties"]["code"]["enum"] = sorted(ours["examples"])


def _depends(dependant: Dependant, call: object) -> bool:
    return dependant.call is call or any(_depends(one, call) for one in dependant.dependencies)
