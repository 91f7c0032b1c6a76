"""The stack of `oncetune up` for tests: the toy model, a short lease, the real processes."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from oncetune.cli.client import Client
from oncetune.local.cluster import forget
from oncetune.local.delivery import Delivery
from oncetune.local.up import Stack, StackSettings, running_stack
from tests.deadline import eventually
from tests.training.toy import make_toy_model

ROWS = [
    {"prompt": f"Where is room {number}?", "chosen": f"Gladly: on floor {number}.", "rejected": "Find it."}
    for number in range(12)
]
# A run of a toy is over in a blink: a killed trainer is noticed as soon.
QUICK = {
    "ONCETUNE_TRAINER_LEASE": "PT6S",
    "ONCETUNE_TRAINER_RENEW_EVERY": "PT1S",
    "ONCETUNE_TRAINER_POLL_EVERY": "PT0.2S",
    "ONCETUNE_TRIGGER_RUNS_PER_MINUTE": "1000",
    "HF_HUB_OFFLINE": "1",
}


def shared_toy_model(factory: pytest.TempPathFactory) -> Path:
    """A two-layer model that knows nothing and trains in a blink; made once a session."""
    folder = factory.getbasetemp() / "toy-model"
    return folder if folder.exists() else make_toy_model(folder)


@contextmanager
def toy_stack(
    data: Path, model: Path, *, delivery: Delivery, environment: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """A running stack that knows the toy as `toy` and as the default `zephyr`; its database is deleted at the end."""
    settings = StackSettings(
        data=data,
        port=0,
        delivery=delivery,
        minimum_free_bytes=0,
        models={"toy": str(model), "zephyr": str(model)},
        environment={**QUICK, **(environment or {})},
    )
    try:
        with running_stack(settings) as stack:
            yield stack
    finally:
        forget(data)


@contextmanager
def client_of(stack: Stack, user: str = "ann") -> Iterator[Client]:
    with Client(stack.url, user=user, secret=stack.gateway_secret) as client:
        yield client


def state_of(client: Client, run_id: str, *states: str, seconds: float = 90) -> dict[str, Any]:
    """The run once it is in one of these states."""

    def look() -> dict[str, Any] | None:
        run = client.get(f"/runs/{run_id}")
        return run if run["status"] in states else None

    found = eventually(look, seconds=seconds, every=0.2)
    assert found is not None
    return found


def whole_trail(client: Client, run_id: str) -> dict[str, Any]:
    """The run's trail once the journal holds everything."""

    def look() -> dict[str, Any] | None:
        trail = client.get(f"/runs/{run_id}/events")
        return trail if trail["gapless"] and trail["pending"] == 0 else None

    found = eventually(look, seconds=30, every=0.2)
    assert found is not None
    return found


def program_environment(**more: str) -> dict[str, str]:
    """For `python -m oncetune.cli` as a program: this environment, without anybody's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ONCETUNE_", "DPO_", "DAPR"))}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HF_HUB_OFFLINE": "1", **more}
