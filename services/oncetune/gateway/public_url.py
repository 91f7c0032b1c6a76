"""Where the gateway and remote workers reach this service (GATEWAY_CONTRACT, section 4)."""

import ipaddress
from urllib.parse import urlsplit


def public_base_url(base_url: str | None, pod_id: str | None, port: int) -> str | None:
    """`DPO_PUBLIC_BASE_URL` as it was given, else the proxy's URL of a RunPod pod, else None: nobody outside knows us.

    A direct `ip:port` of a pod never works; its proxy serves `port` under a name of its own.
    """
    if base_url:
        return base_url.rstrip("/")
    return f"https://{pod_id}-{port}.proxy.runpod.net" if pod_id else None


def host_of(url: str) -> str | None:
    """The host that an http or https URL names; None when it is no such URL."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # a port that is no number is found out here
    except ValueError:
        return None
    usable = parts.scheme in ("http", "https") and url.isascii() and url.isprintable() and " " not in url
    return parts.hostname if usable else None


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that `host` is; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_local(host: str) -> bool:
    """Whether only this machine itself reaches `host`: localhost, a loopback address, or 0.0.0.0."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = address_of(host)
    return address is not None and (address.is_loopback or address.is_unspecified)
