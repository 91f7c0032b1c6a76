"""What `/openapi.json` tells of trigger's routes that FastAPI cannot see: the body is read raw, refusals are raised."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from oncetune.contracts.preferences import PreferencePair
from oncetune.contracts.recipe import Hyperparameters
from oncetune.datasets.urls import MAX_CHARACTERS
from oncetune.gateway.openapi import OF_ANY, Refusals, Schema, refusals
from oncetune.trigger.body import OTHER_FILE, RerunBody, TriggerBody

_REF = "#/components/schemas/{model}"

# Whatever is accepted, and more: which hosts and signs are, the answer says.
_URL: Schema = {
    "type": ["string", "null"],
    "maxLength": MAX_CHARACTERS,
    "pattern": r"^[Hh][Tt]{2}[Pp][Ss]?://[^\s/?#@]+/[^\s?#]*\.(json|jsonl|jsonl\.gz)([?#]\S*)?$",
    "example": "https://example.org/pairs.jsonl.gz",
}

_BUSY: Refusals = {503: {"busy": "Too many requests wait; repeat this one with its Idempotency-Key"}}
_TRIGGER: Refusals = {
    400: {
        "incomplete_body": "The body ended before it was complete",
        "invalid_json": "The body cannot be read as JSON: the key 'kb_id' stands twice in one object",
        "invalid_request": "kb_id is missing",
        "invalid_idempotency_key": "Idempotency-Key takes 1 to 255 visible ASCII characters",
        "unknown_algo": "algo 'ppo' is not offered; offered: dpo",
        "unknown_base_model": "base_model 'zefir' is not known; known: zephyr",
        "invalid_hyperparameters": "hyperparameters.betta is not known; did you mean beta?",
        "one_dataset": "Give exactly one of dataset_inline and dataset_url",
        "invalid_dataset": "dataset_inline[3]: chosen is missing",
        "invalid_dataset_url": OTHER_FILE,
    },
    408: {"body_too_slow": "The body was not complete within 60 seconds"},
    409: {"request_in_flight": "The first request with this Idempotency-Key is still in flight; repeat this one"},
    413: {"dataset_too_large": "The body is larger than 5242880 bytes (DPO_MAX_DATASET_SIZE_MB)"},
    422: {"idempotency_key_reused": "This Idempotency-Key was used with another body; use a new key for a new request"},
    429: {
        "run_active": "A run of kb_id 'support' is queued or running; wait for its end or cancel it",
        "rate_limited": "A user may ask for 5 runs a minute; wait 23 seconds",
    },
}
_EXAMPLE = {
    "kb_id": "support",
    "exp_name": "friendlier answers",
    "base_model": "zephyr",
    "dataset_inline": [
        {"prompt": "Where is my parcel?", "chosen": "Let me look, please.", "rejected": "No idea."},
    ],
    "hyperparameters": {"beta": 0.1, "epochs": 3},
}
# What the rows of OpenAI's preference fine-tuning say; datasets/openai.py reads them.
_TURNS: Schema = {"type": "array", "minItems": 1, "items": {"$ref": _REF.format(model="Message")}}
_OPENAI_ROW: Schema = {
    "title": "OpenAIPreference",
    "type": "object",
    "properties": {
        "input": {
            "type": "object",
            "properties": {
                "messages": _TURNS,
                "tools": {"type": ["array", "null"], "maxItems": 0},
                "parallel_tool_calls": {"type": ["boolean", "null"]},
            },
            "required": ["messages"],
            "additionalProperties": False,
        },
        "preferred_output": _TURNS,
        "non_preferred_output": _TURNS,
    },
    "required": ["input", "preferred_output", "non_preferred_output"],
    "additionalProperties": False,
}
_REPLAYED = {
    "description": "`true` when this is the answer of the first request with this Idempotency-Key",
    "schema": {"type": "string", "enum": ["true"]},
}
_ANSWERS = {
    "accepted": {"value": {"run_id": "0199f3a4-6c1e-7d52-9a3b-5e8f0c2d4b61", "status": "queued"}},
    "dry run": {
        "value": {
            "status": "valid",
            "dataset_rows": 1,
            "base_model": "HuggingFaceH4/zephyr-7b-beta",
            "dataset_sha256": "5e" * 32,
        }
    },
    "dry run of a URL": {
        "value": {
            "status": "valid",
            "dataset_url": "https://example.org/pairs.jsonl.gz",
            "base_model": "HuggingFaceH4/zephyr-7b-beta",
        }
    },
}

_SHARED = ("incomplete_body", "invalid_json", "invalid_idempotency_key", "unknown_base_model")
_REPEATED: Refusals = {
    **{status: _TRIGGER[status] for status in (408, 409, 429)},
    400: {
        **{code: _TRIGGER[400][code] for code in _SHARED},
        "invalid_request": "exp_name: use 1 to 200 characters, no control characters, not only blanks",
    },
    413: {"body_too_large": "The body is larger than 16384 bytes"},
    422: {
        **_TRIGGER[422],
        "unknown_recipe": "The run was recorded by another version, whose recipe this one cannot read",
    },
}
TRIGGER_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"headers": {"Idempotent-Replayed": _REPLAYED}, "content": {"application/json": {"examples": _ANSWERS}}},
    **refusals(_BUSY, _TRIGGER),
}
RERUN_BODY = {
    "requestBody": {
        "required": False,
        "content": {
            "application/json": {"schema": {"$ref": _REF.format(model="RerunBody")}, "example": {"exp_name": "again"}}
        },
    }
}
_NO_RUN: Refusals = {404: {"run_not_found": "There is no such run"}}
CANCEL_RESPONSES = refusals(_BUSY, _NO_RUN)
TOKEN_RESPONSES = refusals(
    _BUSY, _NO_RUN, {429: {"too_many_downloads": "The run has 100 download tokens that nobody has used; use one"}}
)
RERUN_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"headers": {"Idempotent-Replayed": _REPLAYED}},
    **refusals(_BUSY, _NO_RUN, _REPEATED),
}
_DOWNLOAD: Refusals = {
    401: {"bad_token": "This token is unknown, expired or used; ask for another"},
    404: {"no_dataset": "The run ended before its dataset was stored; the token was not used"},
    409: {"dataset_not_stored": "The run's dataset is not stored yet; come again with the same token"},
    416: {"no_ranges": "A download is whole or not at all; the token was not used"},
}
_ROW = '{"chosen": "Let me look, please.", "prompt": "Where is my parcel?", "rejected": "No idea."}\n'
_DIGEST = {"description": "SHA-256 of the rows, as RFC 9530 writes it", "schema": {"type": "string"}}
DOWNLOAD_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The rows, one JSON object a line; the token is used up",
        "headers": {"Repr-Digest": _DIGEST},
        "content": {"application/x-ndjson": {"schema": {"type": "string"}, "example": _ROW}},
    },
    **refusals(OF_ANY, _BUSY, _DOWNLOAD),
}
TRIGGER_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": _REF.format(model="TriggerBody")}, "example": _EXAMPLE}},
    }
}


def body_schemas(models: Mapping[str, str]) -> Schema:
    """The components that the bodies refer to; `models` is the setting: a caller's name for each model."""
    wanted: list[type[BaseModel]] = [TriggerBody, RerunBody, PreferencePair, Hyperparameters]
    _, definitions = models_json_schema([(model, "validation") for model in wanted], ref_template=_REF)
    schemas: Schema = definitions["$defs"]
    body = schemas["TriggerBody"]
    body["oneOf"] = [
        {
            "required": [one],
            "properties": {one: {"type": kind}, other: {"type": "null"}},
        }
        for one, kind, other in (
            ("dataset_inline", "array", "dataset_url"),
            ("dataset_url", "string", "dataset_inline"),
        )
    ]
    body["properties"] |= {
        "base_model": {
            "type": "string",
            "default": TriggerBody.model_fields["base_model"].default,
            "enum": sorted({*models, *models.values()}),
        },
        "algo": {"type": "string", "default": "dpo", "enum": ["dpo"]},
        "dataset_inline": {
            "type": ["array", "null"],
            "minItems": 1,
            "description": "A row without prompt is read too, where chosen and rejected begin with the same one.",
            "items": {"anyOf": [{"$ref": _REF.format(model="PreferencePair")}, _OPENAI_ROW]},
        },
        "dataset_url": _URL,
        "hyperparameters": {"anyOf": [{"$ref": _REF.format(model="Hyperparameters")}, {"type": "null"}]},
    }
    return schemas
