"""Values that nobody would choose and everybody may: names that look like numbers, and names that are given twice."""

from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from tests.helm.chart import OLDEST, Object, chart, named, objects, profile
from tests.helm.test_objects import CUSTOM

NUMBERS: dict[str, Any] = {
    "global": {"imagePullSecrets": ["7"]},
    "commonLabels": {"team": "1"},
    "gateway": {
        "existingSecret": "123",
        "secretKeys": {"sharedSecret": "1", "sharedSecretPrevious": "2", "registerSecret": "3"},
        "ingress": {"enabled": True, "host": "1e3", "className": "10", "tlsSecret": "11"},
        "httpRoute": {"enabled": False},
    },
    "postgres": {"host": "10", "existingSecret": "1e3", "secretKeys": {"username": "4", "password": "5"}},
    "dapr": {"apiTokenSecret": "20", "appTokenSecret": "21"},
    "serviceAccount": {"name": "30"},
    "trigger": {"priorityClassName": "40"},
    "trainer": {
        "gpu": {"runtimeClassName": "50"},
        "huggingFace": {"existingSecret": "51", "tokenKey": "6"},
        "artifacts": {"existingClaim": "52"},
        "models": {"storageClass": "53"},
    },
}


class EachKeyOnce(yaml.CSafeLoader):
    """Refuses a mapping with a key that stands twice; of which Kubernetes' tools take the one or the other."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), sorted(keys)
        return super().construct_mapping(node, deep)


def rendered(values: dict[str, Any], release: str) -> list[Object]:
    texts = chart().render(values, name=release, namespace="2024")
    return [
        one
        for path, text in texts.items()
        if not path.endswith("NOTES.txt")
        for one in yaml.load_all(text, Loader=EachKeyOnce)
        if one
    ]


def test_a_name_that_looks_like_a_number_stays_a_name():
    for one in rendered(profile("external", fullnameOverride="runs", **NUMBERS), "20"):
        if one["kind"] not in CUSTOM.get(one["apiVersion"], ()):
            kubernetes_validate.validate(one, OLDEST, strict=True)
        assert all(isinstance(value, str) for value in one["metadata"]["labels"].values())
        assert all(isinstance(value, str) for value in one["metadata"].get("annotations", {}).values())
        assert isinstance(one["metadata"]["name"], str)
        assert isinstance(one["metadata"]["namespace"], str)


def test_a_release_that_begins_with_a_digit_is_told_so_before_the_api_server_refuses_its_services():
    with pytest.raises(helm_python.HelmRenderError, match="release name: 20-oncetune-trigger begins with a digit"):
        rendered(profile("external"), "20")
    assert "runs-trigger" in {
        one["metadata"]["name"] for one in rendered(profile("external", fullnameOverride="runs"), "20")
    }


def test_a_release_with_a_point_in_its_name_has_services_all_the_same():
    assert "my-runs-oncetune-trigger" in {one["metadata"]["name"] for one in rendered(profile("external"), "my.runs")}


def test_a_label_or_annotation_that_is_given_twice_stands_once():
    labels = {"team": "a", "app.kubernetes.io/component": "else"}
    values = profile(
        "external",
        commonLabels=labels,
        dapr={"annotations": {"dapr.io/app-health-threshold": "6"}},
        trigger={"podLabels": labels | {"team": "b"}, "podAnnotations": {"dapr.io/log-level": "debug"}},
        metrics={"serviceMonitor": {"labels": {"team": "c"}}},
    )
    rendered(values, "oncetune")
    found = objects(values)
    pod = named(found, "Deployment", "oncetune-trigger")["spec"]["template"]["metadata"]
    assert (pod["labels"]["app.kubernetes.io/component"], pod["labels"]["team"]) == ("trigger", "b")
    assert pod["annotations"]["dapr.io/app-health-threshold"] == "6"
    assert pod["annotations"]["dapr.io/log-level"] == "debug"
    assert named(found, "ServiceMonitor", "oncetune")["metadata"]["labels"]["team"] == "c"
