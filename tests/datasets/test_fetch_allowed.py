"""Where a fetch may go that leads to no public address: to the ports, names and networks that an operator allows."""

import pytest

from oncetune.datasets.dialing import judged_addresses
from oncetune.datasets.fetch_rules import FetchRules
from oncetune.datasets.refusal import DatasetRefused
from oncetune.datasets.watch import Watch
from tests.datasets.fetching import fetch, refusal, rules
from tests.datasets.hostile import answer, hostile

TEXT = b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n'


def test_an_allowed_network_holds_its_addresses_in_ipv6_too_as_written_or_as_meant():
    for network, address in [
        ("10.0.0.0/8", "::ffff:10.0.0.1"),
        ("10.0.0.0/8", "64:ff9b::10.0.0.1"),
        ("64:ff9b::/96", "64:ff9b::10.0.0.1"),
        ("fc00::/7", "fd00:ec2::254"),
    ]:
        its = FetchRules(max_bytes=1, allow=(network,), resolve=lambda _, found=address: [found])
        assert judged_addresses("a.test", 80, its, Watch(its.deadline, lambda: False)) == [address]


def test_a_port_is_refused_unless_the_rules_name_it(tmp_path, connections):
    with hostile({"/pairs": answer(TEXT)}) as server:
        refused = refusal(server.url("/pairs"), tmp_path, rules(server, ports=frozenset({80, 443})))
        assert (refused.code, refused.message) == (
            "url_refused_port", f"A dataset is not fetched from port {server.port}, only from 80, 443",
        )  # fmt: skip
    assert not connections


ALLOWED = {
    "a name": (("a.test",), True, True),
    "a name with its port": (("a.test:PORT",), False, True),
    "a name, of other letters": (("a.test",), True, True),
    "an address": (("127.0.0.1",), True, True),
    "a network": (("10.0.0.0/8", "127.0.0.0/24"), True, True),
    "another name": (("b.test", "test"), True, False),
    "the end of a name": (("est",), True, False),
    "a name with another port": (("a.test:81",), True, False),
    "a name with its port, which is on no other": (("a.test:81", "a.test"), False, False),
    "a name where the port is not": (("a.test",), False, False),
    "a network where the port is not": (("127.0.0.0/8",), False, False),
    "another network": (("127.0.1.0/24", "::/0"), True, False),
}


@pytest.mark.parametrize(("allow", "port_is_known", "fetched"), ALLOWED.values(), ids=ALLOWED)
def test_an_operator_may_allow_an_inner_host(allow, port_is_known, fetched, tmp_path):
    with hostile({"/pairs": answer(TEXT)}) as server:
        its = rules(
            server,
            allow=tuple(entry.replace("PORT", str(server.port)) for entry in allow),
            ports=frozenset({server.port} if port_is_known else {80}),
            resolve=lambda _: ["127.0.0.1"],
        )
        if fetched:
            assert fetch(server.url("/pairs", "A.Test."), tmp_path, its)[1] == TEXT
        else:
            assert refusal(server.url("/pairs", "a.test"), tmp_path, its).code.startswith("url_refused")


def test_an_allowed_ipv6_host_is_named_in_brackets():
    its = FetchRules(max_bytes=1, allow=("[::1]:8080",))
    assert its.trusts("::1", 8080)
    assert not its.trusts("::1", 80)
    assert not its.trusts_port("::1", 8081)


@pytest.mark.parametrize("found", ["fd00::7", "fd00:0:0::7"])
def test_an_allowed_ipv6_address_is_trusted_under_any_name_and_no_other_address_is(found):
    its = FetchRules(max_bytes=1, allow=("[fd00::7]",), resolve=lambda _: [found])
    for host in ("a.test", found):
        assert judged_addresses(host, 80, its, Watch(its.deadline, lambda: False)) == [found]
    with pytest.raises(DatasetRefused):
        judged_addresses("fd00::8", 80, its, Watch(its.deadline, lambda: False))


@pytest.mark.parametrize(
    "entry", ["", "A.test", "http://a.test", "a.test/x", "10.0.0.1/8", "a b", "a:", "a:x", "*.test", "[::1", "fd00::7",
              "[fd00::7::]", "[10.0.0.7]", "[FD00::7]", "[fd00:0::7]:9000", "a.test:0", "a.test:99999", "a.test.",
              ".test", "010.0.0.7"],
)  # fmt: skip
def test_an_entry_of_the_allow_list_that_nobody_can_read_stops_the_start(entry):
    with pytest.raises(ValueError, match=r"."):
        FetchRules(max_bytes=1, allow=(entry,))
