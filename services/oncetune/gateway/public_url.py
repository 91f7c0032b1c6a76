"""Where the gateway finds this service: the public URL, and what cannot be one. Pure: no network, no clock."""

import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from oncetune.gateway.settings import RegistrationSettings

SHORTEST_TTL_SECONDS, LONGEST_TTL_SECONDS = 60, 30 * 86_400
_POD_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,40}[A-Za-z0-9])?")
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_PRIVATE_NAMES = (".localhost", ".localdomain", ".local", ".lan", ".home.arpa", ".docker.internal")
_CLUSTER_NAME = ".cluster.local"  # resolved by everything in the cluster, a gateway there included


def public_base_url(settings: RegistrationSettings) -> str | None:
    """`DPO_PUBLIC_BASE_URL`, else the proxy URL of a RunPod pod, without a slash at the end; None without both."""
    if settings.public_base_url is not None:
        return settings.public_base_url.strip().rstrip("/")
    if settings.runpod_pod_id is not None:
        return f"https://{settings.runpod_pod_id}-{settings.port}.proxy.runpod.net"
    return None


def registration_problems(settings: RegistrationSettings) -> tuple[str, ...]:
    """Why the service could not register with these settings, one sentence each that begins with the setting's name.

    Empty when it can, or when registration is off. No sentence holds a secret.
    """
    if settings.register_url is None:
        return ()
    found = [
        _register_url_problem(settings.register_url),
        _secret_problem(settings),
        _ttl_problem(settings.service_ttl_seconds),
        public_url_problem(settings),
    ]
    return tuple(problem for problem in found if problem is not None)


def public_url_problem(settings: RegistrationSettings) -> str | None:
    """What is wrong with the public URL, one sentence that begins with the setting's name; None when nothing is."""
    if settings.public_base_url is None and settings.runpod_pod_id is not None:
        if _POD_ID.fullmatch(settings.runpod_pod_id):
            return None
        return "RUNPOD_POD_ID is not the id of a pod: letters, digits and hyphens"
    url = public_base_url(settings)
    if url is None:
        return "DPO_PUBLIC_BASE_URL is missing: the address at which the gateway reaches this service"
    parts = split_url(url)
    if parts is None or parts.query or parts.fragment:
        return "DPO_PUBLIC_BASE_URL is not a URL of the form https://host[:port][/path]"
    host = parts.hostname or ""
    if settings.environment == "production" and only_near(host):
        return (
            f"DPO_PUBLIC_BASE_URL is {url}, and {host} means something else on every machine: in production the "
            "gateway and remote workers cannot reach it"
        )
    if settings.runpod_pod_id is not None and _address(host) is not None:
        proxy = f"https://{settings.runpod_pod_id}-{settings.port}.proxy.runpod.net"
        return (
            f"DPO_PUBLIC_BASE_URL is {url}; an address of a RunPod pod is never reached directly: unset it for {proxy}"
        )
    return None


def only_near(host: str) -> bool:
    """True for a host that only this machine or its own network can mean: localhost, a loopback address, a bare name.

    A private address or a name of a cluster is not one: the gateway may stand in the same network.
    """
    address = _address(host)
    if address is not None:
        address = getattr(address, "ipv4_mapped", None) or address
        return address.is_loopback or address.is_unspecified or address.is_link_local
    name = host.lower().rstrip(".")
    if name.endswith(_CLUSTER_NAME):
        return False
    return "." not in name or name.endswith(_PRIVATE_NAMES)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a resolver makes of `host` without asking anybody, `127.1` and `0x7f000001` included."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def split_url(url: str) -> SplitResult | None:
    """The parts of an http(s) URL that every reader takes apart alike; None for any other."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url or len(url) > 2000:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    plain = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and port != 0
    return parts if plain else None


def _register_url_problem(url: str) -> str | None:
    if split_url(url) is None:
        return "DPO_REGISTER_URL is not a URL of the form https://host[:port]/path"  # not shown: it may hold a token
    return None


def _secret_problem(settings: RegistrationSettings) -> str | None:
    if settings.register_secret is None:
        return "DPO_REGISTER_SECRET is missing: the gateway takes no registration without it"
    if not _HEADER_VALUE.fullmatch(settings.register_secret.get_secret_value()):
        return (
            "DPO_REGISTER_SECRET cannot stand in a header: visible ASCII characters, no blank or line break at its ends"
        )
    return None


def _ttl_problem(seconds: int) -> str | None:
    if SHORTEST_TTL_SECONDS <= seconds <= LONGEST_TTL_SECONDS:
        return None
    return f"DPO_SERVICE_TTL_SECONDS is {seconds}; use {SHORTEST_TTL_SECONDS} to {LONGEST_TTL_SECONDS} seconds"
