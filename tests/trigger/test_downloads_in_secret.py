"""A token leaves no trace: neither in the database nor in anything that is printed or exported."""

import hashlib
import os
import socket
import sys

import httpx

from tests.dapr.event_path import program
from tests.deadline import eventually
from tests.ledger.given import change, rows_of
from tests.serving import APP_TOKEN, SECRET, free_port
from tests.trigger.downloading import PATH, download, token_of


def test_only_the_hash_of_a_token_is_stored_beside_whom_it_was_given_to(client, engine, run_id):
    token = token_of(client, run_id)
    [row] = rows_of(engine(None), "SELECT * FROM ledger.download_token")
    assert (row.sha256, row.issued_to) == (hashlib.sha256(token.encode()).hexdigest(), "ann")
    assert token not in str(row)


SERVE = "import sys; from oncetune.serve import serve; serve(('trigger',), host='127.0.0.1', port=int(sys.argv[1]))"


def test_a_token_is_in_nothing_that_a_real_service_printed_or_exported(database_url, engine, run_id, tmp_path):
    from tests.telemetry.collector import collecting

    port, owner = free_port(), engine(None)
    with collecting() as collector:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "DATABASE_URL": database_url,
            "DPO_GATEWAY_SHARED_SECRET": SECRET,
            "APP_API_TOKEN": APP_TOKEN,
            "ONCETUNE_TRIGGER_DELIVERY": "direct",
            "ONCETUNE_TRIGGER_DIRECT_STATUS_URL": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        }
        command = (sys.executable, "-c", SERVE, str(port))
        with program(command, environment, tmp_path / "log") as process:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client:
                eventually(lambda: _ready(client), seconds=60)
                tokens = [token_of(client, run_id) for _ in range(3)]
                statuses = [download(client, tokens[0]).status_code for _ in range(2)]
                statuses += [download(client, tokens[1], range="bytes=0-").status_code]
                statuses += [client.get("/nowhere", params={"Token": tokens[1]}).status_code]
                statuses += [client.get(f"{PATH}?t%6Fken={tokens[1]}&token={tokens[1]}!").status_code]
                change(owner, "UPDATE ledger.dataset_chunk SET content = 'spoilt'")
                statuses += [download(client, tokens[2]).status_code]
                change(owner, "ALTER TABLE ledger.download_token RENAME COLUMN sha256 TO gone")
                statuses += [download(client, tokens[2]).status_code]
                metrics = client.get("/metrics").text
                with socket.create_connection(("127.0.0.1", port)) as odd:
                    odd.sendall(f"GET {PATH}?token={tokens[2]} HTTP/1.1\r\nbroken\r\n\r\n".encode())
                    odd.recv(4096)
            process.terminate()
            process.wait(15)
    assert statuses == [200, 401, 416, 404, 401, 500, 500]
    printed = (tmp_path / "log").read_text()
    assert "UndefinedColumn" in printed and "BrokenDataset" in printed and str(run_id) in printed
    assert any(span.name.startswith("POST") for span in collector.spans), "the others have their spans"
    for token in tokens:
        for secret in (token, hashlib.sha256(token.encode()).hexdigest()):
            assert secret not in printed
            assert secret not in repr(collector.spans)
            assert secret not in metrics


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/ready").status_code == 200
    except httpx.TransportError:
        return False
