"""One address for trigger and status: each request reaches the service whose router knows it."""

import re
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from oncetune.status.artifact_routes import routes as artifact_routes
from oncetune.status.dataset_routes import dataset_routes
from oncetune.status.dead_letter_routes import dead_letter_routes
from oncetune.status.routes import routes as status_routes
from oncetune.trigger.downloads import downloads
from oncetune.trigger.rerun import reruns
from oncetune.trigger.routes import routes as trigger_routes
from oncetune.trigger.settings import TriggerSettings
from tests.helm.chart import Object, named, objects, of_kind, profile

DESCRIPTION = str(FastAPI().openapi_url)  # where `oncetune doctor` looks whether it may ask for a dry run
ROUTERS = {
    "oncetune-trigger": (trigger_routes, downloads, reruns),
    "oncetune-status": (status_routes, dataset_routes, artifact_routes, dead_letter_routes),
}
REQUESTS = [
    (method, re.sub(r"\{\w+\}", "0199f3ab", route.path), service)
    for service, routers in ROUTERS.items()
    for router in routers
    for route in router.routes
    if isinstance(route, APIRoute)
    for method in sorted(route.methods)
] + [("GET", "/health", "oncetune-trigger"), ("GET", DESCRIPTION, "oncetune-trigger")]
ROOMY = {"limits": {"memory": "4Gi"}}
CLOSED = ["/live", "/ready", "/metrics", "/dapr/subscribe", "/events/run-requested", "/events/dead/run-requested"]


def by_ingress(found: list[Object], path: str) -> str | None:
    """Where Traefik and nginx send this path: the longest rule that fits; methods mean nothing to them."""
    fitting = []
    for rule in (rule for one in of_kind(found, "Ingress") for rule in one["spec"]["rules"][0]["http"]["paths"]):
        wanted = rule["path"]
        fits = {
            "Exact": path == wanted,
            "Prefix": path == wanted or path.startswith(wanted + "/"),
            "ImplementationSpecific": bool(re.search(wanted, path)),
        }[rule["pathType"]]
        if fits:
            fitting.append((len(wanted), rule["backend"]["service"]["name"]))
    return max(fitting)[1] if fitting else None


def by_http_route(found: list[Object], method: str, path: str) -> str | None:
    """Where the Gateway API's rules of precedence send this: exact, longest prefix, then a method."""
    fitting = []
    for rule in of_kind(found, "HTTPRoute")[0]["spec"]["rules"]:
        for match in rule["matches"]:
            kind, wanted = match["path"]["type"], match["path"]["value"]
            fits = path == wanted or (kind == "PathPrefix" and path.startswith(wanted + "/"))
            if fits and match.get("method", method) == method:
                fitting.append((kind == "Exact", len(wanted), "method" in match, rule["backendRefs"][0]["name"]))
    return max(fitting)[3] if fitting else None


def ingress(controller: str) -> list[Object]:
    way: dict[str, Any] = {"ingress": {"enabled": True, "controller": controller, "host": "a.example"}}
    return objects(profile("external", gateway={**way, "httpRoute": {"enabled": False}}))


@pytest.mark.parametrize("controller", ["traefik", "nginx"])
def test_every_path_of_an_ingress_is_absolute_or_an_api_server_refuses_it(controller):
    rules = [rule for one in of_kind(ingress(controller), "Ingress") for rule in one["spec"]["rules"]]
    paths = [path["path"] for rule in rules for path in rule["http"]["paths"]]
    assert len(paths) == 8
    assert all(path.startswith("/") for path in paths), paths


@pytest.mark.parametrize("controller", ["traefik", "nginx"])
def test_an_ingress_leads_every_request_to_the_service_that_knows_it(controller):
    found = ingress(controller)
    assert len(REQUESTS) > 8
    for method, path, service in REQUESTS:
        assert by_ingress(found, path) == service, (method, path)
    assert [by_ingress(found, path) for path in CLOSED] == [None] * len(CLOSED)


def test_an_http_route_leads_every_request_to_the_service_that_knows_it():
    found = objects(profile("external"))
    for method, path, service in REQUESTS:
        assert by_http_route(found, method, path) == service, (method, path)
    assert [by_http_route(found, "POST", path) for path in CLOSED] == [None] * len(CLOSED)


def test_the_rule_for_cancels_is_written_as_each_controller_reads_it():
    cancel = {
        name: named(ingress(name), "Ingress", "oncetune-gateway-cancel")["metadata"]["annotations"]
        for name in ("traefik", "nginx")
    }
    assert cancel["traefik"]["traefik.ingress.kubernetes.io/router.pathmatcher"] == "PathRegexp"
    assert int(cancel["traefik"]["traefik.ingress.kubernetes.io/router.priority"]) > 100  # else the longer rule wins
    assert cancel["nginx"]["nginx.ingress.kubernetes.io/use-regex"] == "true"


def test_nginx_lets_through_what_trigger_takes():
    """Its own limit is a mebibyte, and its refusal no answer of ours."""
    name = "nginx.ingress.kubernetes.io/proxy-body-size"
    way: dict[str, Any] = {"enabled": True, "controller": "nginx", "host": "a.example"}
    for megabytes, limit in ((None, TriggerSettings.model_fields["max_dataset_size_mb"].default), (20, 20)):
        more = {"trigger": {"settings": {"DPO_MAX_DATASET_SIZE_MB": megabytes}, "resources": ROOMY}}
        found = objects(profile("external", gateway={"ingress": way, "httpRoute": {"enabled": False}}, **more))
        assert named(found, "Ingress", "oncetune-gateway")["metadata"]["annotations"][name] == f"{limit + 1}m"
    own = {"ingress": {**way, "annotations": {name: "99m"}}, "httpRoute": {"enabled": False}}
    found = objects(profile("external", gateway=own))
    assert named(found, "Ingress", "oncetune-gateway")["metadata"]["annotations"][name] == "99m"
    assert "nginx" not in str(ingress("traefik"))


def test_every_backend_is_a_service_of_the_chart_with_that_port():
    found = [*ingress("traefik"), *of_kind(objects(profile("external")), "HTTPRoute")]
    services = {one["metadata"]["name"]: one["spec"]["ports"][0] for one in of_kind(found, "Service")}
    for one in of_kind(found, "Ingress"):
        for rule in one["spec"]["rules"][0]["http"]["paths"]:
            assert services[rule["backend"]["service"]["name"]]["name"] == rule["backend"]["service"]["port"]["name"]
    for rule in of_kind(found, "HTTPRoute")[0]["spec"]["rules"]:
        assert services[rule["backendRefs"][0]["name"]]["port"] == rule["backendRefs"][0]["port"]
