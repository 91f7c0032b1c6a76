"""Every address that is not a public one, in every spelling, is refused before anybody is connected to."""

from datetime import timedelta
from ipaddress import ip_address

import pytest

from oncetune.datasets.addresses import not_public
from oncetune.datasets.fetch import fetch_dataset
from oncetune.datasets.fetch_rules import FetchRules
from oncetune.datasets.refusal import DatasetRefused

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "93.184.216.34", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
    "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0",
    "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.15",
    "2606:2800:220:1::1", "2001:4860:4860::8888", "2a00::1", "::ffff:8.8.8.8", "64:ff9b::808:808",
]  # fmt: skip
INNER = [
    "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.100.100.200", "100.127.255.255",
    "127.0.0.1", "127.255.255.254", "169.254.0.0", "169.254.169.254", "169.254.170.2", "169.254.255.255",
    "172.16.0.0", "172.31.255.255", "192.0.0.1", "192.0.0.9", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.250", "240.0.0.1", "255.255.255.255", "168.63.129.16",
    "::", "::1", "::7f00:1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1",
    "64:ff9b:1::7f00:1", "64:ff9b:1::808:808", "100::1", "2001::1", "2001:0:7f00:1::", "2001:2::1", "2001:10::1",
    "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1", "3fff::1", "4000::1",
    "5f00::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "fdff::1", "fe80::1", "fe80::a9fe:a9fe", "febf::1",
    "fec0::1", "feff::1", "ff02::1", "ff0e::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
]  # fmt: skip
# Each of them is an address of this machine, or of a cloud's metadata, to one resolver or another.
SPELLINGS = [
    "127.1", "127.0.1", "2130706433", "017700000001", "0177.0.0.1", "0177.0.0.01", "0x7f000001", "0x7f.0.0.1",
    "0x7f.1", "0X7F.0x0.0x0.0x1", "127.0.0.1.", "127.0.0.01", "00127.0.0.1", "127.0.0.1%00", "127.0.0.0x1", "0",
    "0x", "0.0", "1.2.3.4.5", "256.0.0.1", "4294967296", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376",
    "１２７.0.0.1", "①②⑦.0.0.1", "127。0。0。1", "127．0．0．1", "127%2e0%2e0%2e1", "１６９.254.169.254",
    "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[::1%25lo]", "[::1%lo]",
    "[64:ff9b::7f00:1]", "[fd00:ec2::254]", "[FE80::1]", "[::FFFF:A9FE:A9FE]", "localhost", "LOCALHOST",
    "localhost.", "ⓛocalhost", "loc\u00adalhost",
]  # fmt: skip
KINDS = {
    "0.0.0.0": "an unspecified",
    "10.1.2.3": "a private",
    "100.64.0.1": "a carrier's inner (CGNAT)",
    "127.0.0.1": "a loopback",
    "169.254.169.254": "a link-local or metadata",
    "172.16.0.1": "a private",
    "192.168.0.1": "a private",
    "198.18.0.1": "a benchmarking",
    "203.0.113.1": "a documentation",
    "255.255.255.255": "a reserved",
    "64:ff9b::7f00:1": "a loopback",
    "64:ff9b:1::7f00:1": "a reserved",
    "::1": "a loopback",
    "2001::1": "a Teredo or reserved",
    "2001:db8::1": "a documentation",
    "fd00:ec2::254": "a private",
    "fe80::1": "a link-local",
    "fec0::1": "a site-local",
    "ff02::1": "a multicast",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_public(address):
    assert not_public(ip_address(address)) is None


@pytest.mark.parametrize("address", INNER)
def test_an_inner_address_is_not_public(address):
    assert not_public(ip_address(address)) is not None


@pytest.mark.parametrize(("address", "kind"), KINDS.items())
def test_the_kind_of_an_inner_address_is_told(address, kind):
    assert not_public(ip_address(address)) == kind


@pytest.mark.parametrize("host", [*[f"[{one}]" if ":" in one else one for one in INNER], *SPELLINGS])
def test_no_spelling_of_an_inner_address_is_connected_to(host, tmp_path, connections):
    with pytest.raises(DatasetRefused) as refused:
        fetch_dataset(f"http://{host}/pairs.jsonl", tmp_path / "pairs", RULES, lambda: False)
    assert refused.value.code in {"url_refused_address", "url_invalid"}
    assert not connections
    assert not (tmp_path / "pairs").exists()


RULES = FetchRules(max_bytes=1000, deadline=timedelta(seconds=5))
