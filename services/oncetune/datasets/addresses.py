"""Which addresses belong to the public internet. All others may be somebody's inner network, or this machine.

`ipaddress.is_global` alone lets pass what leads inside: NAT64 and 6to4 of 127.0.0.1, fec0::/10, multicast. It is asked
as well, for ranges that get reserved later.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

_V4 = {
    "0.0.0.0/8": "an unspecified",
    "10.0.0.0/8": "a private",
    "100.64.0.0/10": "a carrier's inner (CGNAT)",
    "127.0.0.0/8": "a loopback",
    "168.63.129.16/32": "a cloud's metadata",  # Azure's; routed inside only, though not reserved
    "169.254.0.0/16": "a link-local or metadata",
    "172.16.0.0/12": "a private",
    "192.0.0.0/24": "a reserved",  # Oracle's metadata is in it
    "192.0.2.0/24": "a documentation",
    "192.88.99.0/24": "a 6to4 relay's",
    "192.168.0.0/16": "a private",
    "198.18.0.0/15": "a benchmarking",
    "198.51.100.0/24": "a documentation",
    "203.0.113.0/24": "a documentation",
    "224.0.0.0/4": "a multicast",
    "240.0.0.0/4": "a reserved",
}
# Of IPv6 only 2000::/3 is in public use; these are what must be left out of it. The rest has its name for the reader.
_V6 = {
    "::/128": "an unspecified",
    "::1/128": "a loopback",
    "2001::/23": "a Teredo or reserved",
    "2001:db8::/32": "a documentation",
    "2002::/16": "a 6to4",
    "3fff::/20": "a documentation",
    "fc00::/7": "a private",  # fd00:ec2::254 and other clouds' metadata too
    "fe80::/10": "a link-local",
    "fec0::/10": "a site-local",
    "ff00::/8": "a multicast",
}
_V4_KINDS = [(IPv4Network(network), kind) for network, kind in _V4.items()]
_V6_KINDS = [(IPv6Network(network), kind) for network, kind in _V6.items()]
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")  # where IPv6-only clusters see every IPv4 host; 64:ff9b:1::/48 is a site's own


def plain_address(address: Address) -> Address:
    """The IPv4 address that the IPv6 one leads to (mapped, NAT64), else itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address


def not_public(address: Address) -> str | None:
    """What kind of address it is, with its article ("a private"); None when it is a public one."""
    plain = plain_address(address)
    if isinstance(plain, IPv4Address):
        kind = next((kind for network, kind in _V4_KINDS if plain in network), None)
    else:
        kind = next((kind for network, kind in _V6_KINDS if plain in network), None)
        if kind is None and plain not in _GLOBAL_UNICAST:
            return "a reserved"
    return kind or (None if plain.is_global else "a reserved")
