"""The chart's Dapr objects are the files of components/, and its sidecars are those of one machine."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from oncetune.contracts.topics import PUBSUB, app_id
from oncetune.local.sidecar import SidecarPorts, daprd_command
from tests.helm.chart import APPS, CHART, COMPONENTS, Object, named, objects, of_kind, pods, profile

BROKERS = sorted(path.name for path in (CHART / "components" / "brokers").iterdir())
DAPR = ("Component", "Subscription", "Resiliency")


def given_for(broker: str) -> dict[str, Any]:
    """Values of this broker with everything that its component file reads from the environment."""
    read = [one["envRef"] for one in component_of(broker)["spec"]["metadata"] if "envRef" in one]
    secret = [name for name in read if name.endswith(("PASSWORD", "TOKEN", "URL"))]
    plain = {name: f"value-of-{name.lower()}" for name in read if name not in secret}
    env = {"ONCETUNE_REDIS_HOST": None} | plain
    return {"type": broker, "env": env, "secretEnv": {"ONCETUNE_REDIS_PASSWORD": None} | dict.fromkeys(secret, "key")}


def component_of(broker: str) -> Object:
    (one,) = [one for one in documents(CHART / "components" / "brokers" / broker) if one["kind"] == "Component"]
    return one


def documents(folder: Path) -> list[Object]:
    return [one for path in sorted(folder.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text()) if one]


def bare(one: Object) -> Object:
    """Without what the chart adds: namespace and labels."""
    return {**one, "metadata": {"name": one["metadata"]["name"]}}


def test_the_chart_has_no_component_of_its_own_only_links_to_the_files_that_one_machine_uses():
    files = [path for path in (CHART / "components").rglob("*") if not path.is_dir()]
    assert files
    for path in files:
        assert COMPONENTS in path.resolve().parents, f"{path} is a copy"


@pytest.mark.parametrize("broker", BROKERS)
def test_what_is_rendered_is_what_the_files_say(broker):
    values = profile("external", broker={**given_for(broker), "metadata": []})
    rendered = [bare(one) for one in of_kind(objects(values), *DAPR)]
    assert rendered == documents(CHART / "components" / "brokers" / broker) + documents(CHART / "components")


@pytest.mark.parametrize("broker", BROKERS)
def test_a_sidecar_reads_everything_that_the_component_asks_for_and_no_secret_in_the_open(broker):
    values = profile("external", broker=given_for(broker))
    asked = {one["envRef"] for one in component_of(broker)["spec"]["metadata"] if "envRef" in one}
    for name, pod in pods(objects(values)):
        if name.startswith("Deployment"):
            notes = pod["metadata"]["annotations"]
            open_, hidden = notes["dapr.io/env"], notes.get("dapr.io/env-from-secret", "")
            assert asked <= {pair.partition("=")[0] for pair in f"{open_},{hidden}".split(",")}
            assert "PASSWORD" not in open_ and "TOKEN" not in open_


def test_the_bundled_broker_is_where_the_sidecars_look_for_it():
    found = objects(profile("minikube"))
    notes = named(found, "Deployment", "oncetune-trigger")["spec"]["template"]["metadata"]["annotations"]
    service = named(found, "Service", "oncetune-broker")
    assert (
        f"ONCETUNE_REDIS_HOST={service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
        in notes["dapr.io/env"]
    )


def test_the_brokers_values_replace_what_the_component_says_and_add_to_it():
    metadata = [{"name": "enableTLS", "value": "true"}, {"name": "maxLenApprox", "value": "5"}]
    (component,) = of_kind(objects(profile("external", broker={"metadata": metadata})), "Component")
    said = {one["name"]: one.get("value") for one in component["spec"]["metadata"]}
    assert (said["enableTLS"], said["maxLenApprox"]) == ("true", "5")
    assert len(said) == len(component["spec"]["metadata"])
    assert component["metadata"]["name"] == PUBSUB


def test_every_pod_is_the_application_that_the_components_name():
    for together, apps in ((False, set(APPS.values())), (True, {app_id(("trigger", "status")), APPS["trainer"]})):
        found = objects(profile("external", together=together))
        notes = {name: pod["metadata"]["annotations"] for name, pod in pods(found) if name.startswith("Deployment")}
        assert {one["dapr.io/app-id"] for one in notes.values()} == apps
        for one in of_kind(found, *DAPR):
            assert set(one["scopes"]) & apps
        named(found, "Configuration", "oncetune")
        assert {one["dapr.io/config"] for one in notes.values()} == {"oncetune"}


def test_a_sidecar_in_the_cluster_is_told_what_one_on_this_machine_is():
    words = daprd_command(Path("daprd"), COMPONENTS, ("status",), SidecarPorts(8080, 1, 2, 3))
    here = dict(zip(words, [*words[1:], ""], strict=True))
    notes = named(objects(profile("external")), "Deployment", "oncetune-status")["spec"]["template"]["metadata"][
        "annotations"
    ]
    for flag in ("app-id", "app-port", "app-protocol", "app-health-check-path", "app-health-probe-interval",
                 "app-health-probe-timeout", "app-health-threshold", "log-level"):  # fmt: skip
        assert notes[f"dapr.io/{flag}"] == here[f"--{flag}"], flag
    assert notes["dapr.io/enable-app-health-check"] == "true" and "--enable-app-health-check" in here


def test_the_sidecar_and_its_application_know_each_other_by_two_tokens():
    found = objects(profile("external"))
    for component in APPS:
        deployment = named(found, "Deployment", f"oncetune-{component}")["spec"]["template"]
        read = {one["name"]: one.get("valueFrom") for one in deployment["spec"]["containers"][0]["env"]}
        for variable, note in (
            ("DAPR_API_TOKEN", "dapr.io/api-token-secret"),
            ("APP_API_TOKEN", "dapr.io/app-token-secret"),
        ):
            secret = {"name": deployment["metadata"]["annotations"][note], "key": "token"}
            assert read[variable] == {"secretKeyRef": secret}


def test_only_what_serves_has_a_sidecar():
    with_sidecar = {
        name
        for name, pod in pods(objects(profile("minikube")))
        if "dapr.io/enabled" in pod["metadata"].get("annotations", {})
    }
    assert with_sidecar == {f"Deployment/oncetune-{name}" for name in APPS}


@pytest.mark.parametrize("waits", [{}, {"gracefulShutdownSeconds": 25, "blockShutdownDuration": "12s"}])
def test_a_pod_that_goes_leaves_its_process_and_then_its_sidecar_time_to_end(waits):
    longer = {"terminationGracePeriodSeconds": 60}
    found = objects(profile("external", dapr=waits, trigger=longer, status=longer))
    for name, pod in pods(found):
        if name.startswith("Deployment"):
            notes = pod["metadata"]["annotations"]
            block = float(notes["dapr.io/block-shutdown-duration"].removesuffix("s"))
            sidecar = block + int(notes["dapr.io/graceful-shutdown-seconds"])
            own = 120 if name.endswith("trainer") else 5  # its last checkpoint, or preStop
            assert pod["spec"]["terminationGracePeriodSeconds"] >= own + 10 + sidecar  # 10: requests in work


@pytest.mark.parametrize(
    ("dapr", "told"),
    [
        ({}, "GOMEMLIMIT=900MiB,"),
        ({"resources": {"limits": {"memory": "512Mi"}}}, "GOMEMLIMIT=460MiB,"),
        ({"resources": {"limits": {"memory": "2G"}}}, "GOMEMLIMIT=1716MiB,"),
        ({"resources": {"limits": {"memory": 2**30}}}, "GOMEMLIMIT=921MiB,"),
        ({"goMemLimit": "1GiB"}, "GOMEMLIMIT=1GiB,"),
    ],
)
def test_the_sidecars_memory_is_swept_before_its_limit_ends_it(dapr, told):
    assert sidecar_env(profile("external", dapr=dapr)).startswith(told)


def test_without_a_limit_the_sidecars_memory_has_none():
    values = profile("external")
    values["dapr"]["resources"] = {"limits": {"memory": None}}  # takes the default away
    assert "GOMEMLIMIT" not in sidecar_env(values)


def sidecar_env(values: Object) -> str:
    deployment = named(objects(values), "Deployment", "oncetune-status")
    return str(deployment["spec"]["template"]["metadata"]["annotations"]["dapr.io/env"])
