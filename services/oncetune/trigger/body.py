"""The body of a trigger request: counted while it streams, parsed strictly, checked field by field."""

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SkipValidation, ValidationError
from pydantic.json_schema import SkipJsonSchema
from starlette.requests import ClientDisconnect, Request

from oncetune.contracts.names import unknown_name
from oncetune.contracts.preferences import PackedRows
from oncetune.contracts.quality import QualityGate
from oncetune.contracts.recipe import Hyperparameters, TrainingRecipe
from oncetune.contracts.strict_json import UnreadableJson, parse
from oncetune.datasets.packing import pack_rows
from oncetune.datasets.refusal import BadRow, DatasetRefused
from oncetune.datasets.rows import validate_rows
from oncetune.datasets.survey import Survey
from oncetune.datasets.urls import read_url
from oncetune.gateway.errors import Refusal

Name = Annotated[
    str,
    Field(
        min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    ),
]


OTHER_FILE = "dataset_url must name a .json, .jsonl or .jsonl.gz file"
Asked = TypeVar("Asked", bound=BaseModel)


class TriggerBody(BaseModel):
    """`POST /trigger-finetune` as the gateway sends it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kb_id: Name
    exp_name: Name
    base_model: Annotated[str, Field(min_length=1, max_length=500)] = "zephyr"
    algo: str = "dpo"
    dataset_inline: SkipValidation[JsonValue] = None  # parsed already, and a second copy of megabytes
    dataset_url: str | None = None
    hyperparameters: JsonValue = None


class RerunBody(BaseModel):
    """`POST /runs/{run_id}/rerun`; without it the new run is called as the old one."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    exp_name: Name | SkipJsonSchema[None] = None


@dataclass(frozen=True)
class VerifiedTrigger:
    """A request that can become a run. `fingerprint` names the exact bytes that were sent."""

    kb_id: str
    exp_name: str
    base_model: str
    recipe: TrainingRecipe
    rows: PackedRows | None  # None: of a URL
    dataset_url: str | None  # whole: it may hold a secret, and is never logged
    fingerprint: str


def dataset_too_large(limit: int) -> Refusal:
    return Refusal(413, "dataset_too_large", f"The body is larger than {limit} bytes (DPO_MAX_DATASET_SIZE_MB)")


async def read_body(request: Request, limit: int, deadline: timedelta, *, too_large: Refusal) -> bytes:
    """At most `limit` bytes of body; raises `too_large` before more is held, whatever Content-Length says.

    Raises Refusal 408 when it is not complete within `deadline`: a caller that drips would be held for ever.
    """
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and len(declared) < 20 and int(declared) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(deadline.total_seconds()):
            async for chunk in request.stream():
                if len(body) + len(chunk) > limit:
                    raise too_large
                body += chunk
    except ClientDisconnect as error:
        raise Refusal(400, "incomplete_body", "The body ended before it was complete") from error
    except TimeoutError as error:
        detail = f"The body was not complete within {deadline.total_seconds():g} seconds"
        raise Refusal(408, "body_too_slow", detail, headers={"Connection": "close"}) from error
    return bytes(body)


def _bad(code: str, detail: str) -> Refusal:
    return Refusal(400, code, detail)


def _only_known(given: dict[str, JsonValue], model: type[BaseModel], code: str, prefix: str = "") -> None:
    """Refuse the first unknown name; pydantic would hold an error for each of a body's megabytes."""
    if sentence := unknown_name(given, model):
        raise _bad(code, f"{prefix}{sentence}")


def _sentence(error: ValidationError, prefix: str = "") -> str:
    first = error.errors(include_url=False)[0]
    if not first["loc"]:
        return f"{prefix.rstrip('.')}: {first['msg'].removeprefix('Value error, ')}"
    field = prefix + ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{field} is missing"
    if first["type"] == "string_pattern_mismatch":
        return f"{field}: use 1 to 200 characters, no control characters, not only blanks"
    return f"{field}: {first['msg']}"


def read_object(body: bytes, model: type[Asked]) -> Asked:
    """The body as this model; raises Refusal 400 for the first thing wrong."""
    try:
        document = parse(body)
    except UnreadableJson as error:
        raise _bad("invalid_json", f"The body cannot be read as JSON: {error}") from error
    if not isinstance(document, dict):
        raise _bad("invalid_request", "The body is not a JSON object")
    _only_known(document, model, "invalid_request")
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise _bad("invalid_request", _sentence(error)) from error


def verify(body: bytes, models: dict[str, str], quality_gate: QualityGate = "warn") -> VerifiedTrigger:
    """Check everything that can be checked without the ledger; raises Refusal 400 for the first thing wrong."""
    trigger = read_object(body, TriggerBody)
    if trigger.algo != "dpo":
        raise _bad("unknown_algo", f"algo {trigger.algo[:80]!r} is not offered; offered: dpo")
    reference = _model(trigger.base_model, models)
    knobs = _hyperparameters(trigger.hyperparameters)
    _one_dataset(trigger)
    rows = None if trigger.dataset_inline is None else _rows(trigger.dataset_inline)
    recipe = TrainingRecipe(
        base_model=reference,
        dataset_sha256=None if rows is None else rows.sha256,
        quality_gate=quality_gate,
        hyperparameters=knobs,
    )
    return VerifiedTrigger(
        kb_id=trigger.kb_id,
        exp_name=trigger.exp_name,
        base_model=trigger.base_model,
        recipe=recipe,
        rows=rows,
        dataset_url=None if trigger.dataset_url is None else _url(trigger.dataset_url),
        fingerprint=hashlib.sha256(body).hexdigest(),
    )


def _model(name: str, models: dict[str, str]) -> str:
    if name in models:
        return models[name]
    if name in models.values():
        return name
    raise unknown_model(name, models)


def unknown_model(name: str, models: dict[str, str]) -> Refusal:
    known = ", ".join(sorted({*models, *models.values()}))
    return _bad("unknown_base_model", f"base_model {name[:120]!r} is not known; known: {known}")


def _whole(value: JsonValue) -> JsonValue:
    """8.0 as 8: JSON has one kind of number, and some callers' libraries write every one with a point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _hyperparameters(given: JsonValue) -> Hyperparameters:
    if given is not None and not isinstance(given, dict):
        raise _bad("invalid_hyperparameters", "hyperparameters is not an object")
    knobs = given or {}
    _only_known(knobs, Hyperparameters, "invalid_hyperparameters", "hyperparameters.")
    try:
        return Hyperparameters.model_validate({name: _whole(value) for name, value in knobs.items()})
    except ValidationError as error:
        raise _bad("invalid_hyperparameters", _sentence(error, "hyperparameters.")) from error


def _one_dataset(trigger: TriggerBody) -> None:
    if (trigger.dataset_inline is None) == (trigger.dataset_url is None):  # a null is what some callers write for none
        raise _bad("one_dataset", "Give exactly one of dataset_inline and dataset_url")


def _rows(inline: JsonValue) -> PackedRows:
    survey = Survey()
    try:
        return pack_rows(validate_rows(inline, survey=survey), survey)
    except BadRow as error:
        raise _bad("invalid_dataset", str(error)) from error


def _url(url: str) -> str:
    """As it was given; whether its host may be asked is decided where it is fetched."""
    try:
        path = read_url(url).path
    except DatasetRefused as refused:
        raise _bad("invalid_dataset_url", f"dataset_url: {refused.message}") from refused
    if not path.endswith((".json", ".jsonl", ".jsonl.gz")):
        raise _bad("invalid_dataset_url", OTHER_FILE)
    return url
