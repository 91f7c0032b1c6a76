"""NetworkPolicies let in and out whom the values name, and what the other values need."""

from typing import Any

from tests.helm.chart import Object, named, objects, profile

GATEWAY = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateways"}}}
PROMETHEUS = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
QUIET = {"serviceMonitor": {"enabled": False}}


def policy(component: str, network: dict[str, Any], **more: Any) -> Object:
    found = objects(profile("external", networkPolicy={"enabled": True, **network}, **more))
    spec: Object = named(found, "NetworkPolicy", f"oncetune-{component}")["spec"]
    return spec


def ports_to(spec: Object) -> set[int]:
    """Where pods may go."""
    return {one["port"] for rule in spec["egress"] for one in rule.get("ports", [])}


def test_who_names_the_gateway_lets_nobody_else_reach_the_services():
    for network in ({"gateway": [GATEWAY]}, {"gateway": [GATEWAY], "metrics": [PROMETHEUS]}):
        for component in ("trigger", "status"):
            rules = policy(component, network, metrics=QUIET)["ingress"]
            assert rules and all(rule.get("from") for rule in rules), component
        assert all(rule.get("from") for rule in policy("trainer", network, metrics=QUIET)["ingress"])


def test_prometheus_reaches_what_it_scrapes_once_it_is_named():
    for component in ("trigger", "status", "trainer"):
        rules = policy(component, {"gateway": [GATEWAY], "metrics": [PROMETHEUS]})["ingress"]
        (rule,) = [rule for rule in rules if PROMETHEUS in rule["from"]]
        assert {one["port"] for one in rule["ports"]} == {8080, 9090}


def test_spans_reach_their_collector():
    network = {"metrics": [PROMETHEUS], "internet": {"enabled": False}}
    assert 4318 in ports_to(policy("trainer", network, tracing={"endpoint": "http://collector.tracing:4318"}))
    assert 443 in ports_to(policy("trainer", network, tracing={"endpoint": "https://otel.example.com"}))
    assert not {443, 4318} & ports_to(policy("trainer", network, tracing={"endpoint": ""}))


def test_the_database_and_the_broker_are_reached_where_the_other_values_say_that_they_are():
    network = {"metrics": [PROMETHEUS]}
    assert 6432 in ports_to(policy("status", network, postgres={"host": "pool.data", "port": 6432}))
    rabbit = {
        "type": "rabbitmq",
        "env": {"ONCETUNE_RABBITMQ_HOST": "rabbit.data:5672", "ONCETUNE_RABBITMQ_USER": "oncetune"},
        "secretEnv": {"ONCETUNE_REDIS_PASSWORD": None, "ONCETUNE_RABBITMQ_PASSWORD": "password"},
    }
    assert 5672 in ports_to(policy("status", network, broker=rabbit))
    given = {**network, "postgres": {"port": 7000}, "broker": {"ports": [7001]}}
    assert {7000, 7001} <= ports_to(policy("status", given))
