"""The names in components/*.yaml are those of contracts/topics.py, and everything not named there is denied."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from dapr.ext.fastapi import DaprApp
from fastapi import FastAPI

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
from oncetune.ledger.outbox import Pace
from oncetune.status import subscriptions as status
from oncetune.trainer import subscriptions as trainer

COMPONENTS = Path(__file__).parents[2] / "components"
TRIGGER, STATUS, TRAINER = app_id(("trigger",)), app_id(("status",)), app_id(("trainer",))
TOGETHER = app_id(("trigger", "status"))
APPS = {TRIGGER, STATUS, TRAINER, TOGETHER}
BROKERS = sorted(folder.name for folder in (COMPONENTS / "brokers").iterdir())
TOPICS = {*ROUTE, *DEAD_LETTER.values()}


def load(name: str) -> Any:
    return yaml.safe_load((COMPONENTS / f"{name}.yaml").read_text())


@pytest.fixture(params=BROKERS)
def broker(request) -> str:
    return request.param


@pytest.fixture
def pubsub(broker) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in load(f"brokers/{broker}/pubsub")["spec"]["metadata"]}


def scopes(text: str) -> dict[str, set[str]]:
    pairs = (one.split("=") for one in text.replace(" ", "").split(";"))
    return {app: set(topics.split(",")) for app, topics in pairs}


def seconds(text: str) -> float:
    return timedelta(**{{"s": "seconds", "m": "minutes"}[text[-1]]: float(text[:-1])}).total_seconds()


def test_every_file_is_for_our_component_and_our_applications():
    for broker in BROKERS:
        assert load(f"brokers/{broker}/pubsub")["metadata"]["name"] == PUBSUB
        assert set(load(f"brokers/{broker}/pubsub")["scopes"]) == APPS
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


def test_the_lifecycle_topic_is_not_subscribed_in_bulk_which_costs_a_sidecar_its_workers():
    spec = load("subscriptions")["spec"]
    assert (spec["topic"], spec["routes"]) == (RUN_LIFECYCLE, {"default": ROUTE[RUN_LIFECYCLE]})
    assert spec["deadLetterTopic"] == DEAD_LETTER[RUN_LIFECYCLE]
    assert "bulkSubscribe" not in spec


def test_no_message_waits_in_a_sidecars_queue_for_a_worker_and_counts_as_idle_meanwhile():
    redis = {entry["name"]: entry.get("value") for entry in load("brokers/redis/pubsub")["spec"]["metadata"]}
    assert int(redis["queueDepth"]) <= int(redis["concurrency"])


def test_a_message_is_not_redelivered_while_its_delivery_is_still_being_tried():
    policies = load("resiliency")["spec"]["policies"]
    retry, timeout = policies["retries"]["delivery"], seconds(policies["timeouts"]["delivery"])
    longest = (retry["maxRetries"] + 1) * timeout + retry["maxRetries"] * 1.5 * seconds(retry["maxInterval"])
    for broker, name in (("redis", "processingTimeout"), ("jetstream", "backOff")):
        metadata = load(f"brokers/{broker}/pubsub")["spec"]["metadata"]
        (patience,) = (entry["value"] for entry in metadata if entry["name"] == name)
        assert longest < seconds(patience)
    assert "circuitBreaker" not in load("resiliency")["spec"]["targets"]["components"][PUBSUB]["inbound"]


def test_no_component_holds_an_address_or_a_secret():
    words = ("host", "brokers", "url", "user", "password", "token", "sasl", "auth")
    for broker in BROKERS:
        for entry in load(f"brokers/{broker}/pubsub")["spec"]["metadata"]:
            if entry["name"].lower().startswith(words) or "password" in entry["name"].lower():
                assert entry["envRef"].startswith("ONCETUNE_"), entry


def test_every_subscription_asks_for_a_quorum_queue():
    dapr = DaprApp(FastAPI())
    trainer.subscribe(dapr)
    status.subscribe(FastAPI(), dapr)
    subscribed = [load("subscriptions")["spec"], *dapr._get_subscriptions()]
    assert len(subscribed) == len(TOPICS) + 1  # a trainer's is the second of run.requested
    assert all(one["metadata"].get("queueType") == "quorum" for one in subscribed)


def test_each_topic_has_a_stream_of_its_own_which_does_not_swallow_the_relays_second_try():
    streams = [json.loads(file.read_text()) for file in (COMPONENTS / "brokers/jetstream/streams").glob("*.json")]
    assert sorted(stream["subjects"] for stream in streams) == sorted([topic] for topic in TOPICS)
    assert all(stream["storage"] == "file" for stream in streams)
    assert all(timedelta(microseconds=one["duplicate_window"] / 1000) < Pace().backoff for one in streams)


def test_every_route_is_behind_the_token_of_the_sidecar():
    assert all(route.startswith(DELIVERY_PATHS) for route in [*ROUTE.values(), *DEAD_LETTER_ROUTE.values()])
