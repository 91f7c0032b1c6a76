"""A real server of some services, in a thread of the test's process, on a free port of 127.0.0.1."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from oncetune.gateway.claims import sign
from oncetune.serve import SERVER, create_app
from tests.deadline import eventually

SECRET = "a-secret-of-the-tests-only"
APP_TOKEN = "an-app-token-of-the-tests"


def signed(user_id: str = "ann", *, admin: bool = True, secret: str = SECRET, **claims: object) -> dict[str, str]:
    """The two headers as the gateway makes them."""
    user = json.dumps({"user_id": user_id, "admin": admin, "iat": int(time.time())} | claims)
    return {"X-Novalto-User": user, "X-Novalto-Signature": sign(user.encode(), secret)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    monkeypatch: pytest.MonkeyPatch,
    *names: str,
    database_url: str,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[httpx.Client]:
    """A client of the running services; they have stopped, loops and all, when the block ends."""
    port = port or free_port()
    for name, value in {
        "DATABASE_URL": database_url,
        "DPO_GATEWAY_SHARED_SECRET": SECRET,
        "APP_API_TOKEN": APP_TOKEN,
        "ONCETUNE_ENVIRONMENT": "local",
        "ONCETUNE_TRIGGER_DELIVERY": "direct",
        "ONCETUNE_TRIGGER_RUNS_PER_MINUTE": "1000",
        "ONCETUNE_TRIGGER_DIRECT_STATUS_URL": f"http://127.0.0.1:{port}",
        **(environment or {}),
    }.items():
        monkeypatch.setenv(name, value)
    with serving_app(create_app(names), port=port) as client:
        yield client


@contextmanager
def serving_app(app: FastAPI, *, port: int | None = None) -> Iterator[httpx.Client]:
    """A client of a running app; it has stopped when the block ends."""
    port = port or free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, **SERVER))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: server.started or not thread.is_alive())
        assert thread.is_alive(), "the services did not start"
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "a loop did not end"
