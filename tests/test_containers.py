"""What the suite asks of a Docker engine, which stands here as the few answers of its API that are read."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from docker.errors import APIError

from tests.containers import find_image, is_offered
from tests.images.images import image_of


class Engine(BaseHTTPRequestHandler):
    """It has no image, and a registry behind it has every image."""

    asked: list[str]

    def do_GET(self) -> None:
        self._note()
        if self.path == "/version":
            self._answer(200, {"ApiVersion": "1.41"})
        elif "/distribution/" in self.path:
            self._answer(200, {"Descriptor": {"digest": "sha256:0"}, "Platforms": []})
        elif "/images/on-a-broken-disk" in self.path:
            self._answer(500, {"message": "input/output error"})
        else:
            self._answer(200 if self.path.endswith("/_ping") else 404, {"message": "No such image"})

    def do_POST(self) -> None:
        self._note()
        self._answer(404, {"message": "not today"})

    def log_message(self, format: str, *_words: object) -> None:
        pass

    def _note(self) -> None:
        type(self).asked.append(f"{self.command} {self.path.partition('?')[0]} {self.path.partition('?')[2]}")

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What an engine is asked that answers at DOCKER_HOST."""
    Engine.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Engine) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
        yield Engine.asked
        server.shutdown()
        thread.join()


def test_a_look_at_what_could_be_tested_pulls_nothing(asked):
    assert is_offered("redis:8")
    assert [one for one in asked if "/distribution/redis:8" in one]
    assert [one for one in asked if one.startswith("POST")] == []


@pytest.mark.parametrize("image", ["oncetune-test/redis:valkey9", image_of("services")])
def test_no_registry_is_asked_for_an_image_that_this_machine_makes_itself(asked, image):
    assert not is_offered(image)
    assert find_image(image) is None
    assert [one for one in asked if "/distribution/" in one or one.startswith("POST")] == []
    assert find_image("redis:8") is None
    assert [one for one in asked if one.startswith("POST") and "fromImage=redis" in one]


def test_an_engine_that_fails_is_told_in_its_own_words(asked):
    with pytest.raises(APIError, match="input/output error"):
        is_offered("on-a-broken-disk:1")
