"""The direct hand-over against a real subscriber: what counts as published, and what comes again."""

import json
import socket
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from oncetune.dapr import TOKEN_HEADER, NotPublished, direct_publisher
from tests.deadline import eventually, in_time
from tests.ledger.given import record, rows_of
from tests.loglines import captured_lines
from tests.serving import free_port, serving

DEADLINE = timedelta(seconds=0.5)
EVENT = {"id": "an-event"}


class Subscriber(ThreadingHTTPServer):
    """Answers `answers[path]` (status, body; None: never), else SUCCESS in the form of the route; remembers all."""

    daemon_threads = True

    def __init__(self):
        self.answers, self.received, self.closing = {}, [], threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    @property
    def paths(self):
        return [path for path, _, _ in self.received]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append((self.path, json.loads(body), self.headers))
        default = b'{"statuses": [{"entryId": "1", "status": "SUCCESS"}]}' if "lifecycle" in self.path else None
        status, answer = self.server.answers.get(self.path, (200, default or b'{"status": "SUCCESS"}'))
        if answer is None:
            self.server.closing.wait(30)
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_arguments):
        """Nothing."""


@pytest.fixture
def subscriber():
    with Subscriber() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def publish(subscriber):
    with direct_publisher(subscriber.url, (f"http://127.0.0.1:{free_port()}", subscriber.url), "token") as publish:
        yield publish


def _answered(subscriber, path, word):
    one = json.dumps({"status": word})
    bulk = json.dumps({"statuses": [{"entryId": "1", "status": word}]})
    subscriber.answers[path] = (200, (bulk if "lifecycle" in path else one).encode())


def test_a_request_goes_to_status_and_then_as_a_hint_to_each_trainer_with_the_token(subscriber, publish):
    publish("run.requested", EVENT, DEADLINE)  # the first of the two trainers is not there
    assert subscriber.paths == ["/events/run-requested"] * 2
    for _, document, headers in subscriber.received:
        assert document == EVENT
        assert (headers[TOKEN_HEADER], headers["content-type"]) == ("token", "application/cloudevents+json")


def test_what_happens_later_goes_to_status_alone_in_the_form_of_a_bulk(subscriber, publish):
    publish("run.lifecycle", EVENT, DEADLINE)
    [(path, document, _)] = subscriber.received
    assert path == "/events/run-lifecycle"
    assert [entry["event"] for entry in document["entries"]] == [EVENT]


@pytest.mark.parametrize(("topic", "path"), [
    ("run.requested", "/events/run-requested"), ("run.lifecycle", "/events/run-lifecycle"),
])  # fmt: skip
class TestTheAnswerOfStatus:
    def test_drop_sends_the_event_to_the_dead_letters(self, subscriber, publish, topic, path):
        _answered(subscriber, path, "DROP")
        publish(topic, EVENT, DEADLINE)
        assert f"/events/dead/{topic.replace('.', '-')}" in subscriber.paths

    @pytest.mark.parametrize("word", ["RETRY", "MAYBE", "", None, 7, ["SUCCESS"]])
    def test_anything_but_success_and_drop_is_not_published(self, subscriber, publish, topic, path, word):
        _answered(subscriber, path, word)
        with pytest.raises(NotPublished):
            publish(topic, EVENT, DEADLINE)

    @pytest.mark.parametrize(
        "answer", [b"", b"not json", b"[]", b"{}", b"null", b'{"statuses": []}', b'{"statuses": 1}']
    )
    def test_garbage_is_not_published(self, subscriber, publish, topic, path, answer):
        subscriber.answers[path] = (200, answer)
        with pytest.raises(NotPublished):
            publish(topic, EVENT, DEADLINE)

    @pytest.mark.parametrize("status", [401, 404, 500, 503])
    def test_an_error_is_not_published(self, subscriber, publish, topic, path, status):
        subscriber.answers[path] = (status, b'{"status": "SUCCESS"}')
        with pytest.raises(NotPublished):
            publish(topic, EVENT, DEADLINE)

    def test_silence_is_not_published_once_the_deadline_is_over(self, subscriber, publish, topic, path):
        subscriber.answers[path] = (200, None)
        with pytest.raises(NotPublished):
            publish(topic, EVENT, timedelta(seconds=0.1))

    def test_dead_letters_that_nobody_takes_are_not_published(self, subscriber, publish, topic, path):
        _answered(subscriber, path, "DROP")
        subscriber.answers[f"/events/dead/{topic.replace('.', '-')}"] = (503, b"{}")
        with pytest.raises(NotPublished):
            publish(topic, EVENT, DEADLINE)


def test_a_subscriber_that_is_not_there_is_not_published():
    with direct_publisher(f"http://127.0.0.1:{free_port()}", (), "token") as publish, pytest.raises(NotPublished):
        publish("run.requested", EVENT, DEADLINE)


def test_a_trainer_that_hangs_holds_the_events_of_others_up_for_a_second_and_not_for_the_deadline(subscriber):
    with socket.create_server(("127.0.0.1", 0)) as hung:
        url = f"http://127.0.0.1:{hung.getsockname()[1]}"
        with direct_publisher(subscriber.url, (url,), "token") as publish:
            in_time(lambda: publish("run.requested", EVENT, timedelta(minutes=10)))
    assert subscriber.paths == ["/events/run-requested"]


def test_handed_over_directly_every_event_reaches_the_journal_while_status_comes_late(
    monkeypatch, database_url, engine
):
    """Trigger alone first; status starts on its promised port only after events were refused there."""
    port = free_port()
    quick = {
        "ONCETUNE_TRIGGER_DIRECT_STATUS_URL": f"http://127.0.0.1:{port}",
        "ONCETUNE_TRIGGER_RELAY_DEADLINE": "PT0.2S",
        "ONCETUNE_TRIGGER_RELAY_BACKOFF": "PT0.05S",
        "ONCETUNE_TRIGGER_RELAY_MAX_BACKOFF": "PT0.2S",
    }
    owner = engine(None)
    with captured_lines() as lines, serving(monkeypatch, "trigger", database_url=database_url, environment=quick):
        run_id = record(engine("trigger")).run_id
        eventually(lambda: lines.events("event.not_published", run_id=str(run_id)))
        with serving(monkeypatch, "status", database_url=database_url, port=port):
            eventually(lambda: rows_of(owner, "SELECT FROM ledger.outbox WHERE confirmed_at IS NULL") == [])
    [entry] = rows_of(owner, "SELECT run_id, position FROM audit.journal")
    assert (entry.run_id, entry.position) == (run_id, 1)
