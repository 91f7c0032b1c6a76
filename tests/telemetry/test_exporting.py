"""A collector that is no help."""

import os
import socket
import sys
from uuid import uuid4

import httpx

from tests.dapr.event_path import SERVE, program
from tests.deadline import eventually
from tests.serving import APP_TOKEN, SECRET, free_port, signed
from tests.telemetry.collector import collecting


def test_a_collector_that_hangs_costs_a_request_nothing_and_the_end_of_a_service_seconds(database_url, tmp_path):
    port = free_port()
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "DATABASE_URL": database_url,
            "DPO_GATEWAY_SHARED_SECRET": SECRET,
            "APP_API_TOKEN": APP_TOKEN,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{hanging.getsockname()[1]}",
        }
        command = (sys.executable, "-c", SERVE, str(port))
        with program(command, environment, tmp_path / "log") as process:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client:
                eventually(lambda: _ready(client), seconds=60)
                for _ in range(5):
                    assert client.get("/runs", headers=signed()).status_code == 200
            process.terminate()
            process.wait(12)
    assert '"service.stopping"' in (tmp_path / "log").read_text()


def test_a_download_is_not_traced_since_its_query_would_open_it_again(database_url, tmp_path):
    port = free_port()
    with collecting() as collector:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "DATABASE_URL": database_url,
            "DPO_GATEWAY_SHARED_SECRET": SECRET,
            "APP_API_TOKEN": APP_TOKEN,
            "ONCETUNE_ARTIFACTS": str(tmp_path),
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        }
        command = (sys.executable, "-c", SERVE, str(port))
        with program(command, environment, tmp_path / "log") as process:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client:
                eventually(lambda: _ready(client), seconds=60)
                download = f"/artifacts/{uuid4()}/1/adapter.tar?expires=1&signature=of-the-holder"
                assert client.get(download).status_code == 404
                assert client.get("/runs", params={"limit": 3}, headers=signed()).status_code == 200
            process.terminate()
            process.wait(12)
        names = {span.name: span.attributes for span in collector.spans}
    assert names["GET /runs"]["url.query"] == "limit=3", "what a span holds of a query"
    assert "of-the-holder" not in str(collector.spans) + (tmp_path / "log").read_text()


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/ready").status_code == 200
    except httpx.TransportError:
        return False
