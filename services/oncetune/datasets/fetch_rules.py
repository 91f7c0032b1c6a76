"""What a fetch may do: the trainer's settings make it, once."""

import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path

from oncetune.datasets.refusal import DatasetRefused
from oncetune.datasets.urls import check_host, literal_address

_HOST = re.compile(r"((?P<name>[a-z0-9._-]+)|\[(?P<ipv6>[0-9a-f:.]+)\])(:(?P<port>[0-9]{1,5}))?")

Resolve = Callable[[str], Sequence[str]]


def resolve_host(name: str) -> Sequence[str]:
    """Every address of the name, as the machine's resolver orders them. Raises socket.gaierror; may take long."""
    return [str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]


@dataclass(frozen=True)
class FetchRules:
    """Limits of one fetch, and where it may go. ValueError for an entry of `allow` that cannot be read.

    allow: hosts that are trusted although their address is not a public one:
    `minio.storage` (this name, at one of the ports), `minio.storage:9000` (this name at this port, whatever `ports`
    says), `10.20.0.0/16`, `10.20.0.7` or `[fd00::7]` (these addresses, under any name, at one of the ports).
    """

    max_bytes: int  # decoded
    deadline: timedelta = timedelta(seconds=60)  # of everything: names, connections, redirects, body, second tries
    ports: frozenset[int] = frozenset({80, 443})
    allow: tuple[str, ...] = ()
    ca_file: Path | None = None  # PEM: certificates that are trusted beside the public ones
    resolve: Resolve = resolve_host

    def __post_init__(self) -> None:
        for entry in self.allow:
            if "/" in entry:
                ip_network(entry)
            elif not _can_match(entry):
                raise ValueError(
                    f"{entry!r} is none of a.b, a.b:9000, 10.0.0.7, 10.0.0.0/8, [fd00::7], [fd00::7]:9000, fd00::/8 "
                    "(in lower case and usual spelling)"
                )

    def trusts(self, host: str, port: int) -> bool:
        """Whether the address of this host is not judged."""
        return host in self.allow or self.trusts_port(host, port)

    def trusts_port(self, host: str, port: int) -> bool:
        """Whether this host is named together with this port."""
        return f"[{host}]:{port}" in self.allow if ":" in host else f"{host}:{port}" in self.allow

    def networks(self) -> list[IPv4Network | IPv6Network]:
        """The addresses of `allow`."""
        found = []
        for entry in self.allow:
            try:
                found.append(ip_network(entry.removeprefix("[").removesuffix("]")))
            except ValueError:  # a name, or an address with its port
                continue
        return found


def _can_match(entry: str) -> bool:
    """Whether the entry is spelled as the host of a URL is read; another would be there and allow nothing."""
    found = _HOST.fullmatch(entry)
    if found is None or not 0 < int(found["port"] or 80) < 65536:
        return False
    host = found["name"] or found["ipv6"]
    try:
        check_host(host)
    except DatasetRefused:
        return False
    address = literal_address(host)
    return str(address or host) == host and (found["ipv6"] is None or isinstance(address, IPv6Address))
