"""The publisher against a sidecar that hangs: the deadline holds at every step, or the relay would stand still."""

import socket
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from dapr.conf import settings as sdk

from oncetune.dapr import NotPublished, sidecar_publisher
from tests.deadline import in_time

DEADLINE = timedelta(seconds=0.5)


class _Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_args):
        pass


@pytest.fixture
def silent():
    """A port that accepts and never answers, as a stopped process does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def healthy():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Healthy) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        yield server.server_port
        server.shutdown()


def _publish(monkeypatch, *, http, grpc):
    for name, value in {"DAPR_RUNTIME_HOST": "127.0.0.1", "DAPR_HTTP_PORT": http, "DAPR_GRPC_PORT": grpc}.items():
        monkeypatch.setattr(sdk, name, value)
    for name in ("DAPR_HTTP_ENDPOINT", "DAPR_GRPC_ENDPOINT"):
        monkeypatch.setattr(sdk, name, None)
    publish = sidecar_publisher()
    in_time(lambda: publish("run.requested", {"id": "an-event"}, DEADLINE))


def test_a_sidecar_that_hangs_before_the_first_publish_is_not_waited_for(monkeypatch, silent):
    with pytest.raises(NotPublished, match="sidecar"):
        _publish(monkeypatch, http=silent, grpc=silent)


def test_a_sidecar_that_takes_an_event_and_never_answers_is_not_waited_for(monkeypatch, healthy, silent):
    with pytest.raises(NotPublished):
        _publish(monkeypatch, http=healthy, grpc=silent)
