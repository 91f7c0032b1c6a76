"""Containers of our images as the chart starts them, and each process's sidecar in its network, as in a pod."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from docker.types import Mount
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from oncetune.local.sidecar import SidecarPorts, app_environment, daprd_command
from tests.deadline import eventually

PORTS = SidecarPorts(app=8080, http=3500, grpc=50001, internal=50002)
# A process that got this far has no more rights than in a pod of the chart, and only /tmp to write to.
_CONFINED: Mapping[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
}


@dataclass(frozen=True)
class Ended:
    """What a container told, and its exit code."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Process:
    """A container that serves, reached at `url` from here and at its name from the other containers."""

    container: DockerContainer
    url: str

    def lines(self) -> list[dict[str, Any]]:
        """Its log, one JSON object a line."""
        return [json.loads(line) for line in self.container.get_logs()[1].decode().splitlines()]

    def stop(self) -> int:
        """Ask it to end, as Kubernetes and `docker stop` do; its exit code, which is 137 after 10 s of no answer."""
        container = self.container.get_wrapped_container()
        container.stop(timeout=10)
        return int(container.wait(timeout=10)["StatusCode"])


def ended(image: str, *command: str, network: Network | None = None, **options: Any) -> Ended:
    """Run it to its end."""
    environment = options.pop("environment", {})
    one = DockerContainer(image, env=environment, network=network, **{**_CONFINED, **options})
    one.with_command(list(command)).with_tmpfs_mount("/tmp")
    try:
        one.start()
        code = one.wait()
        out, err = one.get_logs()
        return Ended(code, out.decode(), err.decode())
    finally:
        one.stop()


@contextmanager
def served(
    image: str, *services: str, network: Network, environment: Mapping[str, str], mounts: list[Mount] | None = None
) -> Iterator[Process]:
    """`oncetune serve` these services; it answers once this is entered, and is gone afterwards."""
    one = DockerContainer(
        image,
        env={**environment, **app_environment(PORTS)},
        ports=[PORTS.app],
        network=network,
        network_aliases=["-".join(services)],
        **_CONFINED,
        mounts=mounts or [],
    )
    one.with_command(["serve", *services]).with_tmpfs_mount("/tmp")
    try:
        one.start()
        process = Process(one, f"http://{one.get_container_host_ip()}:{one.get_exposed_port(PORTS.app)}")
        eventually(lambda: _is_ready(process), seconds=60, every=0.1)
        yield process
    finally:
        one.stop()


def _is_ready(process: Process) -> bool:
    process.container.reload()
    assert process.container.status == "running", process.container.get_logs()[1].decode()
    try:
        return httpx.get(f"{process.url}/ready", trust_env=False).is_success
    except httpx.TransportError:
        return False


@contextmanager
def sidecar(
    image: str, process: Process, *services: str, daprd: Path, components: Path, environment: Mapping[str, str]
) -> Iterator[DockerContainer]:
    """The daprd of that process. The image is only its file system: the program and its files are this machine's."""
    # With a network mode testcontainers must not look for a network of its own.
    one = DockerContainer(
        image,
        env=dict(environment),
        volumes=[(str(daprd.resolve()), "/daprd", "ro"), (str(components.resolve()), "/components", "ro")],
        **{**_CONFINED, "network": None, "network_mode": f"container:{process.container.get_container_id()}"},
        entrypoint=list(daprd_command(Path("/daprd"), Path("/components"), services, PORTS)),
    )
    try:
        one.start()
        yield one
    finally:
        one.stop()
