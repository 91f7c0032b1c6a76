"""Secrets are made by others: by the script for trying, or by the commands of k8s/README.md."""

import re

from tests.helm.chart import CHART, Object, containers, objects, of_kind, pods, profile


def secrets_read(found: list[Object]) -> set[tuple[str, str]]:
    """Each Secret and key that a pod, or its sidecar, cannot start without."""
    needed = set()
    for _, pod in pods(found):
        for one in (one for container in containers(pod) for one in container.get("env", [])):
            reference = one.get("valueFrom", {}).get("secretKeyRef", {})
            if reference and not reference.get("optional"):
                needed.add((reference["name"], reference["key"]))
        notes = pod["metadata"].get("annotations", {})
        needed |= {
            (notes[name], "token") for name in ("dapr.io/api-token-secret", "dapr.io/app-token-secret") if name in notes
        }
        pairs = [pair.partition("=")[2] for pair in notes.get("dapr.io/env-from-secret", "").split(",") if pair]
        needed |= {(name, key) for name, _, key in (pair.partition(":") for pair in pairs)}
    return needed


def test_the_chart_makes_no_secret_and_prints_none(found):
    assert of_kind(found, "Secret") == []
    for _, pod in pods(found):
        for one in (one for container in containers(pod) for one in container.get("env", [])):
            assert "valueFrom" in one or not re.search(r"SECRET|TOKEN|PASSWORD", one["name"]), one


def test_the_script_for_trying_makes_exactly_the_secrets_that_are_read():
    script = (CHART.parents[1] / "k8s" / "secrets.sh").read_text()
    made = re.findall(r"^make_secret (\S+) (\S+)$", script, re.MULTILINE)
    assert set(made) == secrets_read(objects(profile("minikube")))


def test_the_readmes_commands_make_exactly_the_secrets_that_its_install_reads():
    readme = (CHART.parents[1] / "k8s" / "README.md").read_text()
    commands = re.findall(r"create secret generic (\S+) (.*)", readme)
    made = [(name, key) for name, rest in commands for key in re.findall(r"--from-literal=([\w-]+)=", rest)]
    assert set(made) == secrets_read(objects(profile("external")))


def test_every_deployment_that_the_readme_names_is_there():
    readme = (CHART.parents[1] / "k8s" / "README.md").read_text()
    named = set(re.findall(r"\bdeployment/([\w-]+)", readme))
    assert named
    assert named <= {one["metadata"]["name"] for one in of_kind(objects(profile("external")), "Deployment")}
