"""The chart rendered by Helm as a library: no binary, no cluster."""

import copy
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import yaml

from oncetune.contracts.topics import app_id

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "oncetune"
COMPONENTS = ROOT / "components"
OLDEST, NEWEST = "1.29", "1.37"  # Kubernetes
# What a user may give with --values, one on top of the other.
PROFILES = {
    "minikube": ("minikube",),
    "minikube-gpu": ("minikube", "gpu"),
    "external": ("external",),
    "everything": ("everything",),
}
APPS = {"trigger": app_id(("trigger",)), "status": app_id(("status",)), "trainer": app_id(("trainer",))}

Object = dict[str, Any]


def read(path: Path) -> Any:
    """The one YAML document of a file."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


def profile(name: str, **more: Any) -> Object:
    """The values of a profile, with `more` on top: trigger={"replicas": 2}."""
    values: Object = {}
    for file in PROFILES[name]:
        values = over(values, read(CHART / "profiles" / f"{file}.yaml"))
    return over(values, more)


def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> Object:
    """Merged as Helm merges values: maps by key, anything else replaced, None takes the value away."""
    merged = copy.deepcopy(dict(below))
    for name, value in above.items():
        if isinstance(value, Mapping):
            lower = merged.get(name)
            merged[name] = over(lower if isinstance(lower, Mapping) else {}, value)
        elif value is None:
            merged.pop(name, None)
        else:
            merged[name] = copy.deepcopy(value)
    return merged


@cache
def chart() -> helm_python.Chart:
    """Loaded once; rendering changes nothing of it."""
    return helm_python.Chart.load(str(CHART))


def render(values: Mapping[str, Any], *, of: helm_python.Chart | None = None) -> dict[str, str]:
    """Each template's text by its path in the chart; raises helm_python.HelmError."""
    rendered = (of or chart()).render(dict(values), name="oncetune", namespace="runs")
    return {path.removeprefix("oncetune/"): text for path, text in sorted(rendered.items())}


def objects(values: Mapping[str, Any]) -> list[Object]:
    """Everything that would be sent to the cluster; rendered once for the same values, so nobody may change it."""
    return _objects(json.dumps(values, sort_keys=True))


@cache
def _objects(values: str) -> list[Object]:
    texts = (text for path, text in render(json.loads(values)).items() if not path.endswith("NOTES.txt"))
    return [one for text in texts for one in yaml.load_all(text, Loader=yaml.CSafeLoader) if one]


def of_kind(found: list[Object], *kinds: str) -> list[Object]:
    return [one for one in found if one["kind"] in kinds]


def named(found: list[Object], kind: str, name: str) -> Object:
    """The one object of this kind and name."""
    (one,) = [one for one in of_kind(found, kind) if one["metadata"]["name"] == name]
    return one


def pods(found: list[Object]) -> Iterator[tuple[str, Object]]:
    """The template of each workload's pods, by "Kind/name"."""
    for one in of_kind(found, "Deployment", "StatefulSet", "Job"):
        yield f"{one['kind']}/{one['metadata']['name']}", one["spec"]["template"]
    for one in of_kind(found, "Pod"):
        yield f"Pod/{one['metadata']['name']}", one


def containers(pod: Object) -> list[Object]:
    """All of a pod's containers, the init containers first."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def environment(found: list[Object], component: str) -> dict[str, Object]:
    """The variables of a service's own container: name to the whole entry."""
    (container,) = named(found, "Deployment", f"oncetune-{component}")["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one for one in container["env"]}
