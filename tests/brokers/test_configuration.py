"""What a sidecar says when it cannot use its broker: one line, with the words of components/README.md."""

import json
import subprocess
from collections.abc import Mapping

from oncetune.local.sidecar import SidecarPorts
from tests.brokers import test_conformance
from tests.brokers.table import BROKERS, WORDS, last_words, promises
from tests.brokers.way import Way, sidecar_command, sidecar_environment
from tests.dapr.event_path import free_ports


def last_line(way: Way, environment: Mapping[str, str]) -> dict[str, str]:
    """Of a sidecar that ends by itself, and not well."""
    command = sidecar_command(way.broker.name, way.components, SidecarPorts(*free_ports(4)))
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    return json.loads(ended.stdout.splitlines()[-1])


def test_a_wrong_password_is_told_in_one_line(way: Way):
    line = last_line(way, sidecar_environment(way.broker, password="another-password"))
    assert line["level"] == "fatal"
    assert last_words("a wrong password", way.broker.name) in line["msg"]
    assert "another-password" not in line["msg"]


def test_a_broker_that_is_away_is_told_in_one_line(way: Way):
    nobody = str(free_ports(1)[0])
    environment = {
        name: value.replace(str(way.broker.port), nobody) for name, value in sidecar_environment(way.broker).items()
    }
    line = last_line(way, environment)
    assert line["level"] == "fatal"
    assert last_words("nobody there", way.broker.name) in line["msg"]


def test_the_table_says_of_every_promise_and_broker_what_becomes_of_it():
    assert {tuple(cells) for cells in promises().values()} == {BROKERS}
    assert {word for cells in promises().values() for word in cells.values()} == set(WORDS)


def test_every_promise_of_the_table_has_a_test_and_every_test_a_promise_of_the_table():
    tested = [
        mark.args[0]
        for name, test in vars(test_conformance).items()
        if name.startswith("test_")
        for mark in test.pytestmark
        if mark.name == "promise"
    ]
    assert sorted(tested) == sorted(promises())
