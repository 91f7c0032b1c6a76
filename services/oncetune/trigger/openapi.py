"""What `/openapi.json` tells of trigger's routes that FastAPI cannot see: the body is read raw, refusals are raised."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from oncetune.contracts.preferences import PreferencePair
from oncetune.contracts.recipe import Hyperparameters
from oncetune.gateway.openapi import Refusals, Schema, refusals
from oncetune.trigger.body import TriggerBody

_REF = "#/components/schemas/{model}"

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
        "invalid_dataset": "row 3: chosen is missing",
        "invalid_dataset_url": "dataset_url must begin with http:// or https:// and name a host",
        "not_offered_yet": "dataset_url is not offered yet; send the rows as dataset_inline",
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
}

TRIGGER_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"headers": {"Idempotent-Replayed": _REPLAYED}, "content": {"application/json": {"examples": _ANSWERS}}},
    **refusals(_BUSY, _TRIGGER),
}
CANCEL_RESPONSES = refusals(_BUSY, {404: {"run_not_found": "There is no such run"}})
TRIGGER_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": _REF.format(model="TriggerBody")}, "example": _EXAMPLE}},
    }
}


def body_schemas(models: Mapping[str, str]) -> Schema:
    """The components that TRIGGER_BODY refers to; `models` is the setting: a caller's name for each model."""
    wanted: list[type[BaseModel]] = [TriggerBody, PreferencePair, Hyperparameters]
    _, definitions = models_json_schema([(model, "validation") for model in wanted], ref_template=_REF)
    schemas: Schema = definitions["$defs"]
    body = schemas["TriggerBody"]
    body["required"] = [*body["required"], "dataset_inline"]
    body["properties"] |= {
        "base_model": {
            "type": "string",
            "default": TriggerBody.model_fields["base_model"].default,
            "enum": sorted({*models, *models.values()}),
        },
        "algo": {"type": "string", "default": "dpo", "enum": ["dpo"]},
        "dataset_inline": {
            "type": "array",
            "minItems": 1,
            "items": {"$ref": _REF.format(model="PreferencePair")},
        },
        "dataset_url": {"type": "null", "description": "Not offered yet"},
        "hyperparameters": {"anyOf": [{"$ref": _REF.format(model="Hyperparameters")}, {"type": "null"}]},
    }
    return schemas
