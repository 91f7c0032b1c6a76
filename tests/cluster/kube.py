"""kubectl and helm, as an operator has them."""

import base64
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


class CommandFailed(AssertionError):
    """What a command printed before it failed."""


def run(*command: str, stdin: str | None = None) -> str:
    """Its standard output; raises CommandFailed."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


@dataclass(frozen=True)
class Kube:
    """One namespace."""

    namespace: str

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """kubectl; raises CommandFailed."""
        return run("kubectl", "--namespace", self.namespace, *arguments, stdin=stdin)

    def get(self, *arguments: str) -> Object:
        found = json.loads(self("get", *arguments, "--output", "json"))
        assert isinstance(found, dict)
        return found

    def apply(self, *objects: Object) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self("apply", "--filename", "-", stdin=json.dumps(listed))

    def everything(self) -> frozenset[tuple[str, str]]:
        """Kind and name of each object of the namespace, but for what Kubernetes itself tells of them."""
        kinds = self("api-resources", "--verbs=list", "--namespaced", "--output=name").split()
        told = [kind for kind in kinds if not kind.startswith(("events", "endpoint", "leases"))]
        return frozenset((one["kind"], one["metadata"]["name"]) for one in self.get(",".join(told))["items"])

    def pods(self, component: str) -> Sequence[Object]:
        """Those of a service that are to stay, the oldest first."""
        found = self.get("pods", "--selector", f"app.kubernetes.io/component={component}")["items"]
        left = (
            pod for pod in found if "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] == "Running"
        )
        return sorted(left, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def pod(self, component: str) -> str:
        """The name of the only one."""
        (one,) = self.pods(component)
        return str(one["metadata"]["name"])

    def secret(self, name: str, key: str) -> str:
        return base64.b64decode(self.get("secret", name)["data"][key]).decode()

    def address(self, service: str) -> str:
        """Its ClusterIP: this machine is the node."""
        return str(self.get("service", service)["spec"]["clusterIP"])

    def logs(self, selector: str) -> list[str]:
        """What `kubectl logs --prefix` prints of these pods."""
        how = ("--prefix", "--all-containers", "--tail=-1", "--max-log-requests=20")
        return self("logs", "--selector", selector, *how).splitlines()


def ready(pod: Object) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))


@dataclass(frozen=True)
class Release:
    """The chart in a namespace. `values`: files, one on top of the other."""

    kube: Kube
    name: str
    chart: str
    values: Sequence[str]

    def upgrade(self, changed: Mapping[str, object] | None = None) -> None:
        """Install or upgrade, and wait until every pod is ready."""
        files = [word for file in self.values for word in ("--values", file)]
        told = [
            word for name, value in (changed or {}).items() for word in ("--set-json", f"{name}={json.dumps(value)}")
        ]
        self._helm("upgrade", "--install", self.name, self.chart, *files, *told, "--wait", "--timeout", "10m")

    def rollback(self) -> None:
        self._helm("rollback", self.name, "--wait", "--timeout", "10m")

    def test(self) -> str:
        return self._helm("test", self.name, "--logs", "--timeout", "15m")

    def uninstall(self) -> None:
        self._helm("uninstall", self.name, "--wait", "--timeout", "5m")

    def _helm(self, *arguments: str) -> str:
        return run("helm", "--namespace", self.kube.namespace, *arguments)
