"""The names in components/*.yaml are those of contracts/topics.py, and everything not named there is denied."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from oncetune.contracts.topics import (
    DEAD_LETTER,
    DEAD_LETTER_ROUTE,
    PUBSUB,
    ROUTE,
    RUN_LIFECYCLE,
    RUN_REQUESTED,
    app_id,
)
from oncetune.dapr import DELIVERY_PATHS

COMPONENTS = Path(__file__).parents[2] / "components"
TRIGGER, STATUS, TRAINER = app_id(("trigger",)), app_id(("status",)), app_id(("trainer",))
TOGETHER = app_id(("trigger", "status"))
APPS = {TRIGGER, STATUS, TRAINER, TOGETHER}
TOPICS = {*ROUTE, *DEAD_LETTER.values()}


def load(name: str) -> Any:
    return yaml.safe_load((COMPONENTS / f"{name}.yaml").read_text())


@pytest.fixture
def pubsub() -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in load("pubsub")["spec"]["metadata"]}


def scopes(text: str) -> dict[str, set[str]]:
    pairs = (one.split("=") for one in text.replace(" ", "").split(";"))
    return {app: set(topics.split(",")) for app, topics in pairs}


def seconds(text: str) -> float:
    return timedelta(**{{"s": "seconds", "m": "minutes"}[text[-1]]: float(text[:-1])}).total_seconds()


def test_every_file_is_for_our_component_and_our_applications():
    assert load("pubsub")["metadata"]["name"] == PUBSUB
    assert set(load("pubsub")["scopes"]) == APPS
    assert set(load("resiliency")["spec"]["targets"]["components"]) == {PUBSUB}
    assert set(load("resiliency")["scopes"]) == APPS
    assert load("subscriptions")["spec"]["pubsubname"] == PUBSUB
    assert set(load("subscriptions")["scopes"]) == {STATUS, TOGETHER}


def test_no_topic_is_open_to_an_application_that_is_not_named(pubsub):
    assert set(pubsub["allowedTopics"].split(",")) == set(pubsub["protectedTopics"].split(",")) == TOPICS


def test_each_application_publishes_its_events_and_the_dead_letters_of_what_it_subscribes(pubsub):
    dead = set(DEAD_LETTER.values())
    assert scopes(pubsub["publishingScopes"]) == {
        TRIGGER: set(ROUTE),
        STATUS: dead,
        TRAINER: {DEAD_LETTER[RUN_REQUESTED]},
        TOGETHER: set(ROUTE) | dead,
    }
    assert scopes(pubsub["subscriptionScopes"]) == {STATUS: TOPICS, TRAINER: {RUN_REQUESTED}, TOGETHER: TOPICS}


def test_the_lifecycle_topic_is_not_subscribed_in_bulk_which_costs_a_sidecar_its_workers(pubsub):
    spec = load("subscriptions")["spec"]
    assert (spec["topic"], spec["routes"]) == (RUN_LIFECYCLE, {"default": ROUTE[RUN_LIFECYCLE]})
    assert spec["deadLetterTopic"] == DEAD_LETTER[RUN_LIFECYCLE]
    assert "bulkSubscribe" not in spec
    assert int(pubsub["queueDepth"]) <= int(pubsub["concurrency"])


def test_a_message_is_not_redelivered_while_its_delivery_is_still_being_tried(pubsub):
    policies = load("resiliency")["spec"]["policies"]
    retry, timeout = policies["retries"]["delivery"], seconds(policies["timeouts"]["delivery"])
    longest = (retry["maxRetries"] + 1) * timeout + retry["maxRetries"] * 1.5 * seconds(retry["maxInterval"])
    assert longest < seconds(pubsub["processingTimeout"])
    assert "circuitBreaker" not in load("resiliency")["spec"]["targets"]["components"][PUBSUB]["inbound"]


def test_every_route_is_behind_the_token_of_the_sidecar():
    assert all(route.startswith(DELIVERY_PATHS) for route in [*ROUTE.values(), *DEAD_LETTER_ROUTE.values()])
