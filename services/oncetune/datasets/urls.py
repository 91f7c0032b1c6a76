"""The address of a dataset: what may stand in it, and how it is shown."""

import re
from ipaddress import IPv4Address, IPv6Address

import httpx

from oncetune.datasets.refusal import DatasetRefused

MAX_CHARACTERS = 8192  # a signed URL of an object store takes up to two thousand
DEFAULT_PORTS = {"http": 80, "https": 443}
UNREADABLE = "(an unreadable URL)"

_BEGINNING = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?#]*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:%\\]+)(:[0-9]{0,5})?", re.IGNORECASE)
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # as a last label: no such domain exists, and resolvers read a number


def check_url(url: str) -> None:
    """Raises DatasetRefused when the text cannot be the URL of a dataset: scheme, user, host, port, length.

    Nothing is looked up: whether the host may be asked is decided when the dataset is fetched.
    """
    read_url(url)


def read_url(url: str) -> httpx.URL:
    """As `check_url`; the host is in ASCII, lower case and usual spelling, a last dot and the fragment are gone."""
    if wrong := _misspelt(url):
        raise DatasetRefused("url_invalid", f"The dataset's URL has {wrong}")
    beginning = _BEGINNING.match(url)
    if beginning is None:
        raise DatasetRefused("url_invalid", "The dataset's URL has no http:// or https:// before its host")
    if beginning["scheme"].lower() not in DEFAULT_PORTS:
        raise DatasetRefused("url_refused_scheme", "The dataset's URL begins with neither http:// nor https://")
    if "@" in beginning["authority"]:
        raise DatasetRefused("url_refused_user", "The dataset's URL names a user; give a URL that needs none")
    if not _AUTHORITY.fullmatch(beginning["authority"]):
        raise DatasetRefused("url_invalid", "The dataset's URL has no readable host and port")
    try:
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode().removesuffix(".")
    except (httpx.InvalidURL, ValueError) as error:  # of the host's Unicode, too
        raise DatasetRefused("url_invalid", "The dataset's URL has no readable host and port") from error
    check_host(host)
    host = str(literal_address(host) or host)
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise DatasetRefused("url_refused_port", f"The dataset's URL has the port {parsed.port}; no host has one")
    return parsed.copy_with(host=host, fragment=None)


def _misspelt(url: str) -> str | None:
    if len(url) > MAX_CHARACTERS:
        return f"more than {MAX_CHARACTERS} characters"
    if " " in url:
        return "a blank; write it as %20"
    return None if url.isprintable() else "a sign that cannot be printed; write it in percent-encoding"


def check_host(host: str) -> None:
    """Raises DatasetRefused unless it is a name, or an address in its usual spelling."""
    if literal_address(host) is not None:
        return
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        raise DatasetRefused("url_refused_address", f"{host[:80]} is an address in an odd spelling; write it as usual")
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise DatasetRefused("url_invalid", "The dataset's URL has no readable host")


def literal_address(host: str) -> IPv4Address | IPv6Address | None:
    """None when the host is a name. Brackets of an IPv6 address are not part of it."""
    for kind in (IPv4Address, IPv6Address):
        try:
            return kind(host)
        except ValueError:
            continue
    return None


def host_of(url: httpx.URL) -> str:
    """As it is asked for. Its Unicode is not told: an emoji's domain has none that may be read, another's deceives."""
    return url.raw_host.decode("ascii")


def printable_url(url: str) -> str:
    """The URL without what may be secret: user, query, fragment. It never fails: what is no URL is not shown."""
    try:
        shown = httpx.URL(url).copy_with(username=None, password=None, query=None, fragment=None)
    except (httpx.InvalidURL, ValueError):
        return UNREADABLE
    return str(shown) if shown.scheme in DEFAULT_PORTS and shown.raw_host else UNREADABLE
