"""The publisher against a sidecar that hangs or is away: no deadline is missed, and its return is not slept through."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from dapr.conf import settings as sdk
from dapr.proto.runtime.v1.dapr_pb2_grpc import DaprServicer, add_DaprServicer_to_server
from google.protobuf.empty_pb2 import Empty

from oncetune.dapr import NotPublished, sidecar_publisher
from tests.deadline import eventually, in_time

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


class _Taking(DaprServicer):
    def PublishEvent(self, request, context):  # noqa: N802 - gRPC's name
        return Empty()


@contextmanager
def _sidecar(port=0):
    """One that takes every event, as its gRPC port."""
    server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
    add_DaprServicer_to_server(_Taking(), server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait()


def _publisher(monkeypatch, *, http, grpc):
    for name, value in {"DAPR_RUNTIME_HOST": "127.0.0.1", "DAPR_HTTP_PORT": http, "DAPR_GRPC_PORT": grpc}.items():
        monkeypatch.setattr(sdk, name, value)
    for name in ("DAPR_HTTP_ENDPOINT", "DAPR_GRPC_ENDPOINT"):
        monkeypatch.setattr(sdk, name, None)
    publish = sidecar_publisher()
    return lambda: in_time(lambda: publish("run.requested", {"id": "an-event"}, DEADLINE))


def _taken(publish):
    try:
        publish()
    except NotPublished:
        return False
    return True


def test_a_sidecar_that_hangs_before_the_first_publish_is_not_waited_for(monkeypatch, silent):
    with pytest.raises(NotPublished, match="sidecar"):
        _publisher(monkeypatch, http=silent, grpc=silent)()


def test_a_sidecar_that_takes_an_event_and_never_answers_is_not_waited_for(monkeypatch, healthy, silent):
    with pytest.raises(NotPublished):
        _publisher(monkeypatch, http=healthy, grpc=silent)()


def test_a_sidecar_that_is_back_after_a_long_time_is_found_within_seconds(monkeypatch, healthy):
    """gRPC's own pause doubles with each connection that fails: after five it is longer than this waits."""
    with _sidecar() as port:
        publish = _publisher(monkeypatch, http=healthy, grpc=port)
        publish()
    with socket.create_server(("127.0.0.1", port)) as away:
        away.settimeout(0.05)
        _refuse(away, publish, connections=5)
    with _sidecar(port):
        eventually(lambda: _taken(publish), seconds=4)


def _refuse(listener, publish, *, connections):
    """Hang up on so many, while the publisher tries again and again."""
    while connections:
        assert not _taken(publish)
        try:
            listener.accept()[0].close()
        except TimeoutError:
            continue
        connections -= 1


def test_a_sidecar_that_hangs_is_not_looked_for_with_each_event_of_a_pass(monkeypatch, silent):
    publish = _publisher(monkeypatch, http=silent, grpc=silent)
    in_time(lambda: [_taken(publish) for _ in range(20)], seconds=10 * DEADLINE.total_seconds())
