"""skaffold.yaml, the scripts of k8s/ and the chart speak of the same things."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.helm.chart import CHART, ROOT, objects, over, profile, read, render

SKAFFOLD = read(ROOT / "skaffold.yaml")
(RELEASE,) = SKAFFOLD["deploy"]["helm"]["releases"]
SCRIPTS = sorted((ROOT / "k8s").glob("*.sh"))


def test_the_values_that_skaffold_sets_are_values_of_the_chart_and_become_the_images():
    tags = {"IMAGE_REPO": "built-here", "IMAGE_TAG": "0123abcd"}
    given: dict[str, object] = {}
    for path, template in RELEASE["setValueTemplates"].items():
        kind, image = re.fullmatch(r"\{\{\.(IMAGE_(?:REPO|TAG))_(\w+)\}\}", template).groups()
        assert image.replace("_", "-") in {one["image"] for one in SKAFFOLD["build"]["artifacts"]}
        nested: object = f"{image}-{tags[kind]}" if kind == "IMAGE_REPO" else tags[kind]
        for name in reversed(path.split(".")):
            nested = {name: nested}
        given = over(given, nested)
    text = "".join(render(over(profile("minikube"), given)).values())
    images = set(re.findall(r"image: (oncetune_\S+)", text))
    assert images == {"oncetune_services-built-here:0123abcd", "oncetune_trainer-built-here:0123abcd"}


def test_the_names_of_the_built_images_are_the_charts_defaults():
    values = read(CHART / "values.yaml")
    built = {one["image"] for one in SKAFFOLD["build"]["artifacts"]}
    assert built == {values["image"]["repository"], values["trainer"]["image"]["repository"]}


def test_every_file_that_skaffold_names_is_there():
    named = [RELEASE["chartPath"], *RELEASE["valuesFiles"]]
    named += [patch["value"] for one in SKAFFOLD["profiles"] for patch in one.get("patches", [])]
    named += [one["docker"]["dockerfile"] for one in SKAFFOLD["build"]["artifacts"]]
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_each_image_is_built_from_the_lock_of_its_packages():
    dockerfile = (ROOT / "services" / "Dockerfile").read_text()
    (default,) = re.findall(r"^ARG LOCK=(\w+)$", dockerfile, re.MULTILINE)
    locks = {one["image"]: one["docker"].get("buildArgs", {}) for one in SKAFFOLD["build"]["artifacts"]}
    assert locks == {"oncetune-services": {}, "oncetune-trainer": {"LOCK": "trainer"}}
    for lock in (default, "trainer"):
        assert (ROOT / "services" / "requirements" / f"{lock}.txt").exists()
    assert default == "services"


def test_every_forwarded_port_is_one_of_a_service():
    services = {
        one["metadata"]["name"]: one["spec"]["ports"]
        for one in objects(profile("minikube"))
        if one["kind"] == "Service"
    }
    for forward in SKAFFOLD["portForward"]:
        assert forward["port"] in {port["port"] for port in services[forward["resourceName"]]}
        assert forward["namespace"] == RELEASE["namespace"]


def test_the_namespace_is_that_of_skaffold_and_restricted():
    namespace = read(ROOT / "k8s" / "namespace.yaml")["metadata"]
    assert namespace["name"] == RELEASE["namespace"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_readable_for_a_plain_shell_and_can_be_run(script: Path):
    subprocess.run(["sh", "-n", script], check=True, timeout=10)
    assert script.stat().st_mode & 0o111


def test_make_minikube_without_its_programs_says_which_are_missing(tmp_path: Path):
    (tmp_path / "dirname").symlink_to("/usr/bin/dirname")
    ended = subprocess.run(
        ["/bin/sh", ROOT / "k8s" / "minikube.sh"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=10,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("Not on this machine: minikube kubectl helm dapr skaffold docker.")


def test_make_minikube_with_a_gpu_asks_both_minikube_and_skaffold_for_it(tmp_path: Path):
    said = tmp_path / "said"
    for program in ("minikube", "kubectl", "helm", "dapr", "skaffold", "docker"):
        stub = tmp_path / program
        stub.write_text(f'#!/bin/sh\necho {program} "$@" >> {said}\n[ "{program} $1" != "minikube status" ]\n')
        stub.chmod(0o755)
    more = {"MINIKUBE_FLAGS": "--gpus all", "SKAFFOLD_FLAGS": "--profile gpu"}
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", **more}
    subprocess.run(
        ["sh", ROOT / "k8s" / "minikube.sh"], env=environment, check=True, timeout=20, stdout=subprocess.DEVNULL
    )
    steps = said.read_text().splitlines()
    (start,) = [step for step in steps if step.startswith("minikube start ")]
    assert start.endswith("--addons ingress --gpus all")
    assert steps[-2:] == [
        "skaffold run --profile gpu",
        "helm test oncetune --namespace oncetune --logs --timeout 20m",
    ]


def test_every_file_that_the_readmes_name_is_there():
    for readme in (ROOT / "k8s" / "README.md", CHART / "README.md"):
        named = re.findall(r"\b(?:k8s|helm|components|services|tests)/[\w./-]*\w", readme.read_text())
        assert named
        assert [path for path in named if not (ROOT / path).exists()] == [], readme


def test_an_upgrade_by_the_readme_takes_the_new_charts_defaults_and_a_test_waits_for_its_run():
    told = (ROOT / "k8s" / "README.md").read_text() + (ROOT / "k8s" / "minikube.sh").read_text()
    assert "--reset-then-reuse-values" in told
    assert not re.search(r"\s--reuse-values", told)  # a value that a new chart adds would be missing in its templates
    limit = read(CHART / "values.yaml")["tests"]["timeoutSeconds"]
    waits = [int(minutes) * 60 for minutes in re.findall(r"helm test .*--timeout (\d+)m", told)]
    assert len(waits) == told.count("helm test oncetune") and min(waits) > limit  # Helm's own is five minutes


def test_every_value_that_the_readmes_set_is_a_value_of_the_chart():
    schema = read(CHART / "values.schema.json")
    for readme in (ROOT / "k8s" / "README.md", CHART / "README.md"):
        for path in re.findall(r"--set(?:-string)? ([\w.]+)=", readme.read_text()):
            level = schema
            for name in path.split("."):
                level = schema["$defs"][level["$ref"].rpartition("/")[2]] if "$ref" in level else level
                level = level["properties"][name]
