"""What one object says of another is so: names, selectors, ports, and what a pod mounts."""

import re

import yaml

from tests.helm.chart import Object, chart, named, objects, of_kind, pods, profile


def test_names_are_short_and_each_object_is_there_once(found):
    ids = [(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in found]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", name) for _, _, name in ids)


def test_a_long_release_name_makes_no_name_too_long():
    with_long = chart().render(profile("minikube"), name="a" * 53, namespace="runs")
    texts = [text for text in with_long.values() if "kind:" in text]
    names = [one["metadata"]["name"] for text in texts for one in yaml.load_all(text, yaml.CSafeLoader) if one]
    assert max(map(len, names)) <= 63


def test_every_selector_finds_one_workload_and_every_port_is_open_there(found):
    labels = {name: pod for name, pod in pods(found) if name.startswith(("Deployment", "StatefulSet"))}
    for service in of_kind(found, "Service"):
        wanted = service["spec"]["selector"].items()
        (pod,) = [pod for pod in labels.values() if wanted <= pod["metadata"]["labels"].items()]
        opened = {port["name"] for one in pod["spec"]["containers"] for port in one["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= opened
    for workload in of_kind(found, "Deployment", "StatefulSet"):
        wanted = workload["spec"]["selector"]["matchLabels"].items()
        assert wanted <= workload["spec"]["template"]["metadata"]["labels"].items()
    for policy in of_kind(found, "PodDisruptionBudget"):
        assert [
            pod
            for pod in labels.values()
            if policy["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        ]
    for scaled in of_kind(found, "HorizontalPodAutoscaler", "ScaledObject"):
        target = named(found, "Deployment", scaled["spec"]["scaleTargetRef"]["name"])
        assert "replicas" not in target["spec"]


def references(found: list[Object]) -> set[tuple[str, str]]:
    """Kind and name of each object of the chart's own that another one speaks of."""
    named = {("ServiceAccount", pod["spec"]["serviceAccountName"]) for _, pod in pods(found)}
    for _, pod in pods(found):
        for one in pod["spec"].get("volumes", []):
            named |= {("ConfigMap", one["configMap"]["name"])} if "configMap" in one else set()
            claim = one.get("persistentVolumeClaim", {}).get("claimName", "models")  # `everything` has one of its own
            named |= {("PersistentVolumeClaim", claim)} - {("PersistentVolumeClaim", "models")}
        if "dapr.io/config" in pod["metadata"].get("annotations", {}):
            named.add(("Configuration", pod["metadata"]["annotations"]["dapr.io/config"]))
    for one in of_kind(found, "Ingress"):
        paths = [path for rule in one["spec"]["rules"] for path in rule["http"]["paths"]]
        named |= {("Service", path["backend"]["service"]["name"]) for path in paths}
    for one in of_kind(found, "HTTPRoute"):
        named |= {("Service", back["name"]) for rule in one["spec"]["rules"] for back in rule["backendRefs"]}
    return named | {("Service", one["spec"]["serviceName"]) for one in of_kind(found, "StatefulSet")}


def test_everything_that_an_object_speaks_of_is_there(found):
    there = {(one["kind"], one["metadata"]["name"]) for one in found}
    assert len(references(found)) > 4
    assert references(found) - there == set()


def test_prometheus_finds_each_process_once_and_by_a_port_that_is_there():
    for name, scraped in (("external", {"trigger", "status", "trainer"}), ("everything", {"trigger", "trainer"})):
        found = objects(profile(name))
        spec = named(found, "ServiceMonitor", "oncetune")["spec"]
        (choice,) = spec["selector"]["matchExpressions"]
        wanted = spec["selector"]["matchLabels"].items()
        services = [one for one in of_kind(found, "Service") if wanted <= one["metadata"]["labels"].items()]
        chosen = [
            one for one in services if one["metadata"]["labels"]["app.kubernetes.io/component"] in choice["values"]
        ]
        assert {one["metadata"]["labels"]["app.kubernetes.io/component"] for one in chosen} == scraped
        assert len({str(one["spec"]["selector"]) for one in chosen}) == len(chosen)
        ports = {endpoint["port"] for endpoint in spec["endpoints"]}
        assert all(ports <= {port["name"] for port in one["spec"]["ports"]} for one in chosen)


def test_every_network_policy_stands_for_pods_that_are_there():
    found = objects(profile("everything"))
    there = [pod["metadata"]["labels"] for _, pod in pods(found)]
    policies = of_kind(found, "NetworkPolicy")
    for policy in policies:
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        assert [labels for labels in there if policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()]
    covered = {policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for policy in policies}
    assert covered == {labels["app.kubernetes.io/component"] for labels in there}
