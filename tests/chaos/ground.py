"""What the system stands on, where it can be made to fail from below: its lines, its disks, a clock."""

import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from oncetune.local.cluster import Cluster
from oncetune.local.sidecar import HOST, Broker
from tests.chaos.clocks import Clock, clock, find_libfaketime, sweep_shared_memory
from tests.chaos.deliveries import DeliveryProxy
from tests.chaos.disks import Disk, disk
from tests.chaos.forwarder import Forwarder, Target
from tests.chaos.network import Namespace, namespace

_CAP_NET_ADMIN, _CAP_SYS_ADMIN = 12, 21
_POSTGRES_PORT = 5432  # the name of its socket, too


class Part(StrEnum):
    """What can be broken, given the rights and the programs for it."""

    NETWORK = "network"
    DISKS = "disks"
    CLOCKS = "clocks"


@dataclass(frozen=True)
class Lines:
    """Where one service and its sidecar reach the others. With a namespace, each line has a port of its own there."""

    database_url: str
    broker: str
    deliveries: DeliveryProxy
    ports: tuple[int, ...]  # of the lines whose packets can be dropped


@dataclass(frozen=True)
class Ground:
    """What cannot be broken here is empty: see missing_parts."""

    network: Namespace | None
    lines: Mapping[str, Lines]
    disks: Mapping[str, Disk]
    clocks: Mapping[str, Clock]

    def service_environment(self, name: str) -> dict[str, str]:
        """What the process of this service reads."""
        moved = self.clocks[name].environment if name in self.clocks else {}
        return {"DATABASE_URL": self.lines[name].database_url} | moved

    def sidecar_command(self, name: str, command: Sequence[str]) -> tuple[str, ...]:
        """The same sidecar, which delivers by way of the proxy."""
        proxy = self.lines[name].deliveries
        given = {"--app-channel-address": proxy.server_name, "--app-port": str(proxy.server_port)}
        return tuple(given.get(before, word) for before, word in zip(("", *command), command, strict=False))


def missing_parts() -> dict[Part, str]:
    """What cannot be broken on this machine, and what it would take: a right of root's, or a Debian package."""
    lines = Path("/proc/self/status").read_text().splitlines()
    effective = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    wanted = {
        Part.NETWORK: {
            "CAP_NET_ADMIN": bool(effective >> _CAP_NET_ADMIN & 1),
            "CAP_SYS_ADMIN": bool(effective >> _CAP_SYS_ADMIN & 1),
            "iproute2": bool(shutil.which("ip")),
            "iptables": bool(shutil.which("iptables")),
        },
        Part.DISKS: {"CAP_SYS_ADMIN": bool(effective >> _CAP_SYS_ADMIN & 1), "mount": bool(shutil.which("mount"))},
        Part.CLOCKS: {"faketime": find_libfaketime() is not None},
    }
    lacking = {part: [name for name, there in needs.items() if not there] for part, needs in wanted.items()}
    return {part: ", ".join(names) for part, names in lacking.items() if names}


@contextmanager
def ground(
    folder: Path, cluster: Cluster, broker: Broker, apps: Mapping[str, int], clocks: Sequence[str]
) -> Iterator[Ground]:
    """Solid while nobody breaks it. `apps`: the port of each service; `clocks`: whose can be set."""
    with ExitStack() as below:
        missing = missing_parts()
        network = below.enter_context(namespace()) if Part.NETWORK not in missing else None
        disks = _disks(below, folder, cluster) if Part.DISKS not in missing else {}
        moved = _clocks(below, folder, clocks) if Part.CLOCKS not in missing else {}
        lines = {name: _lines(below, network, cluster, broker, port) for name, port in apps.items()}
        yield Ground(network, lines, disks, moved)


def _disks(below: ExitStack, folder: Path, cluster: Cluster) -> dict[str, Disk]:
    home = cluster.folder.parent
    home.mkdir(parents=True, exist_ok=True)
    return {
        "artifacts": below.enter_context(disk(folder / "artifacts", megabytes=2048)),
        "postgres": below.enter_context(disk(home, megabytes=4096, owner=cluster.account)),
    }


def _clocks(below: ExitStack, folder: Path, names: Sequence[str]) -> dict[str, Clock]:
    library = find_libfaketime()
    assert library
    (folder / "clocks").mkdir()
    below.callback(sweep_shared_memory)
    return {name: clock(folder / "clocks", name, library) for name in names}


def _lines(below: ExitStack, network: Namespace | None, cluster: Cluster, broker: Broker, app: int) -> Lines:
    if network is None:
        proxy = below.enter_context(DeliveryProxy(_listen_here(), app))
        return Lines(cluster.database_url, f"{HOST}:{broker.port}", proxy, ())
    proxy = below.enter_context(DeliveryProxy(network.listen(), app))
    database, events = (below.enter_context(network.listen()) for _ in range(2))
    routes: dict[socket.socket, Target] = {
        database: cluster.sockets / f".s.PGSQL.{_POSTGRES_PORT}",
        events: (HOST, broker.port),
    }
    ports = (proxy.server_port, database.getsockname()[1], events.getsockname()[1])
    below.enter_context(Forwarder(routes))
    url = f"postgresql://postgres@{network.address}:{ports[1]}/oncetune"
    return Lines(url, f"{network.address}:{ports[2]}", proxy, ports)


def _listen_here() -> socket.socket:
    return socket.create_server((HOST, 0), backlog=128)
