"""What the chart renders is Kubernetes: valid in the oldest and the newest version, and fitting together."""

from pathlib import Path

import helm_python
import kubernetes_validate
import pytest
import yaml

from tests.helm.chart import CHART, NEWEST, OLDEST, PROFILES, profile, render

CUSTOM = {  # kinds of others, which need not be there in every cluster
    "dapr.io/v1alpha1": {"Component", "Resiliency", "Configuration"},
    "dapr.io/v2alpha1": {"Subscription"},
    "gateway.networking.k8s.io/v1": {"HTTPRoute"},
    "keda.sh/v1alpha1": {"ScaledObject"},
    "monitoring.coreos.com/v1": {"ServiceMonitor", "PodMonitor", "PrometheusRule"},
}


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
