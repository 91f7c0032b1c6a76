"""Requests to trigger as the gateway sends them."""

import json
from typing import Any

import httpx

from tests.ledger.given import count
from tests.serving import signed

ROW = {"prompt": "Where is my parcel?", "chosen": "Let me look, please.", "rejected": "No idea."}
TABLES = ("ledger.run", "ledger.outbox", "ledger.request_key", "ledger.dataset", "ledger.dataset_chunk")


def document(kb_id: str = "kb", **fields: Any) -> dict[str, Any]:
    return {"kb_id": kb_id, "exp_name": "first", "dataset_inline": [ROW]} | fields


def ask(
    client: httpx.Client,
    wanted: Any = None,
    *,
    key: str | None = None,
    headers: dict[str, str] | None = None,
    content: Any = None,
    dry_run: str | None = None,
) -> httpx.Response:
    """One `POST /trigger-finetune`; `content` replaces the JSON of `wanted`."""
    own = signed() if headers is None else headers
    if key is not None:
        own = own | {"Idempotency-Key": key}
    body = json.dumps(document() if wanted is None else wanted).encode() if content is None else content
    parameters = {} if dry_run is None else {"dry_run": dry_run}
    return client.post("/trigger-finetune", headers=own, content=body, params=parameters)


def recorded(owner: Any) -> dict[str, int]:
    """How many rows the ledger holds."""
    return {table: count(owner, table) for table in TABLES}
