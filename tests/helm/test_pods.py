"""Pods: what they may do, where they run, what they wait for, and how they end."""

import re
from typing import Any

import kubernetes_validate
import pytest

from tests.helm.chart import NEWEST, Object, containers, named, objects, of_kind, pods, profile

GRACE = re.compile(r"PT(\d+)S")


def restricted(pod: Object) -> list[str]:
    """What Pod Security's level `restricted` has against this pod."""
    spec, wrong = pod["spec"], []
    context = spec.get("securityContext", {})
    wrong += [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    wrong += [] if context.get("runAsNonRoot") and context.get("runAsUser") != 0 else ["runAsNonRoot"]
    wrong += [] if context.get("seccompProfile", {}).get("type") == "RuntimeDefault" else ["seccompProfile"]
    kinds = {"emptyDir", "configMap", "secret", "persistentVolumeClaim", "projected", "ephemeral"}
    wrong += [f"volume {one['name']}" for one in spec.get("volumes", []) if not (set(one) - {"name"}) <= kinds]
    for one in containers(pod):
        own = one.get("securityContext", {})
        wrong += [] if own.get("allowPrivilegeEscalation") is False else [f"{one['name']} escalates"]
        wrong += [] if own.get("capabilities", {}).get("drop") == ["ALL"] else [f"{one['name']} keeps capabilities"]
        wrong += [] if own.get("readOnlyRootFilesystem") is True else [f"{one['name']} writes its root"]
        wrong += [f"{one['name']} hostPort" for port in one.get("ports", []) if "hostPort" in port]
    return wrong


def test_every_pod_is_restricted_and_has_no_token_of_the_api_server(found):
    for name, pod in pods(found):
        assert restricted(pod) == [], name
        assert pod["spec"]["automountServiceAccountToken"] is False, name


def test_no_variable_of_a_service_stands_where_a_setting_is_read(found):
    """A Service oncetune-trigger gives every pod ONCETUNE_TRIGGER_PORT, unless the pod says no."""
    assert all(pod["spec"]["enableServiceLinks"] is False for _, pod in pods(found))


def test_no_image_is_the_newest_one_whichever_that_is(found):
    images = [one["image"] for _, pod in pods(found) for one in containers(pod)]
    assert all(re.search(r":[\w.-]+$|@sha256:", image) and not image.endswith(":latest") for image in images)


@pytest.mark.parametrize("registry", ["registry.example.com/ml", "registry.example.com/ml/"])
def test_a_registry_and_a_digest_stand_in_every_image_of_ours(registry):
    digest = "sha256:" + "0" * 64
    more = {"global": {"imageRegistry": registry}, "trainer": {"image": {"tag": "1.2"}}}
    found = objects(profile("external", image={"digest": digest}, **more))
    images = {one["image"] for _, pod in pods(found) for one in containers(pod)}
    assert images == {
        f"registry.example.com/ml/oncetune-services@{digest}",
        "registry.example.com/ml/oncetune-trainer:1.2",
    }


def test_the_migration_is_another_job_when_its_pod_is_another_and_the_same_when_not():
    def job(**more: Any) -> str:
        (one,) = of_kind(objects(profile("external", **more)), "Job")
        return one["metadata"]["name"]

    assert job() == job(trigger={"replicas": 5})
    assert len({job(), job(image={"tag": "2.0.0"}), job(migrations={"existingSecret": "another"})}) == 3


def test_every_pod_of_ours_can_be_sent_to_nodes_that_keep_others_out():
    nodes = {"nodeSelector": {"pool": "ours"}, "tolerations": [{"key": "ours", "operator": "Exists"}]}
    sent = dict.fromkeys(("trigger", "status", "trainer", "migrations"), nodes)
    gpu = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    for name, pod in pods(objects(profile("external", **sent))):
        spec = pod["spec"]
        assert spec["nodeSelector"] == nodes["nodeSelector"], name
        assert [one for one in spec["tolerations"] if one != gpu] == nodes["tolerations"], name


def test_every_service_waits_for_its_schema_by_its_own_image_and_the_job_does_not(found):
    for one in of_kind(found, "Deployment"):
        (wait,) = one["spec"]["template"]["spec"]["initContainers"]
        (own,) = one["spec"]["template"]["spec"]["containers"]
        assert (wait["args"][:2], wait["image"]) == (["migrate", "--wait"], own["image"])
    assert all("initContainers" not in one["spec"]["template"]["spec"] for one in of_kind(found, "Job"))
    assert not any("helm.sh/hook" in str(one["metadata"].get("annotations")) for one in of_kind(found, "Job"))


def test_a_trainer_is_replaced_not_doubled_and_has_time_for_its_last_checkpoint(found):
    trainer = named(found, "Deployment", "oncetune-trainer")["spec"]
    assert trainer["strategy"] == {"type": "Recreate"}
    (container,) = trainer["template"]["spec"]["containers"]
    variables = {one["name"]: one.get("value") for one in container["env"]}
    child = int(GRACE.fullmatch(variables["ONCETUNE_TRAINER_CHILD_GRACE"])[1])
    sidecar = int(trainer["template"]["metadata"]["annotations"]["dapr.io/graceful-shutdown-seconds"])
    assert trainer["template"]["spec"]["terminationGracePeriodSeconds"] >= child + 10 + sidecar  # 10: its requests


def test_a_gpu_is_a_limit_a_toleration_and_nothing_else_and_only_where_it_is_asked_for():
    with_gpu, without = (
        named(objects(profile(name)), "Deployment", "oncetune-trainer")["spec"]["template"]["spec"]
        for name in ("minikube-gpu", "minikube")
    )
    assert with_gpu["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "nvidia.com/gpu" not in with_gpu["containers"][0]["resources"]["requests"]
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in with_gpu["tolerations"]
    assert "tolerations" not in without and "nvidia.com/gpu" not in str(without)


def test_a_card_may_be_claimed_where_kubernetes_hands_them_out_itself():
    claim = {"name": "card", "resourceClaimTemplateName": "one-card"}
    deployment = named(
        objects(profile("external", trainer={"gpu": {"resourceClaims": [claim]}})), "Deployment", "oncetune-trainer"
    )
    kubernetes_validate.validate(deployment, NEWEST, strict=True)
    claimed = deployment["spec"]["template"]["spec"]
    assert claimed["resourceClaims"] == [claim]
    assert claimed["containers"][0]["resources"]["claims"] == [{"name": "card"}]
    assert "nvidia.com/gpu" not in str(claimed["containers"][0]["resources"])


def test_what_a_run_made_outlives_an_uninstall():
    for claim in of_kind(objects(profile("minikube")), "PersistentVolumeClaim"):
        assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_liveness_never_asks_what_the_database_knows(found):
    for one in of_kind(found, "Deployment"):
        (container,) = one["spec"]["template"]["spec"]["containers"]
        paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
        assert paths == {"startup": "/live", "readiness": "/ready", "liveness": "/live"}
