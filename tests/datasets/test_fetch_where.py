"""Where a fetch goes: to the address that was judged, whatever names and the environment say."""

import socket
from dataclasses import replace

import pytest

from oncetune.datasets.fetch_rules import FetchRules, resolve_host
from oncetune.datasets.watch import FetchFailed
from tests.datasets.fetching import fetch, refusal, rules
from tests.datasets.hostile import answer, hostile, names, redirect

TEXT = b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n'
OTHER = "127.0.0.2"  # stands for a public address: it is allowed, and 127.0.0.1 is not


def test_a_name_that_changes_its_address_after_it_was_judged_is_gone_to_where_it_was_judged(tmp_path, connections):
    with (
        names(a_test=[[OTHER], ["127.0.0.1"]]) as zone,
        hostile({"/pairs": answer(b"secret")}) as inner,
        hostile({"/pairs": answer(TEXT)}, address=OTHER, port=inner.port) as outer,
    ):
        its = rules(outer, allow=(OTHER,), resolve=zone.look_up)
        assert fetch(outer.url("/pairs", "a.test"), tmp_path, its)[1] == TEXT
        assert (zone.lookups, outer.connections, inner.connections) == (1, 1, 0)
        assert (OTHER, outer.port) in connections


def test_a_name_that_turns_inward_between_two_hops_is_judged_again(tmp_path):
    with (
        names(a_test=[[OTHER], ["127.0.0.1"]]) as zone,
        hostile({"/pairs": answer(b"secret")}) as inner,
        hostile({"/start": redirect("/pairs")}, address=OTHER, port=inner.port) as outer,
    ):
        its = rules(outer, allow=(OTHER,), resolve=zone.look_up)
        assert refusal(outer.url("/start", "a.test"), tmp_path, its).code == "url_refused_address"
        assert (zone.lookups, outer.connections, inner.connections) == (2, 1, 0)


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], [OTHER, "127.0.0.1"], ["127.0.0.1", OTHER], [OTHER, "::1"], ["93.184.216.34", "10.0.0.1"],
     ["8.8.8.8", "64:ff9b::7f00:1"], ["169.254.169.254"], ["2606:2800:220:1::1", "fd00:ec2::254"]],
)  # fmt: skip
def test_a_name_with_one_inner_address_is_refused_whatever_else_it_has(addresses, tmp_path, connections):
    with names(a_test=[addresses]) as zone, hostile({"/pairs": answer(b"secret")}) as server:
        refused = refusal(server.url("/pairs", "a.test"), tmp_path, rules(server, allow=(OTHER,), resolve=zone.look_up))
    assert refused.code == "url_refused_address"
    assert refused.message.startswith("a.test has ")
    assert not any(address in refused.message for address in addresses)
    assert not connections
    assert server.connections == 0


def test_a_name_that_nobody_has_is_refused_at_once(tmp_path):
    with names() as zone, hostile({}) as server:
        refused = refusal(server.url("/", "a.test"), tmp_path, rules(server, resolve=zone.look_up))
    assert (refused.code, isinstance(refused, FetchFailed)) == ("url_unknown_host", False)


def test_the_next_address_of_a_name_is_tried_when_one_does_not_answer(tmp_path):
    with hostile({"/pairs": answer(TEXT)}) as server:
        its = rules(server, allow=("127.0.0.0/8",), resolve=lambda _: ["127.0.0.3", "127.0.0.1"])
        assert fetch(server.url("/pairs", "a.test"), tmp_path, its)[1] == TEXT


def test_an_address_is_asked_of_no_name_server(tmp_path):
    with hostile({"/pairs": answer(TEXT)}) as server:
        its = rules(server, resolve=lambda _: ["10.0.0.1"])
        assert fetch(server.url("/pairs"), tmp_path, its)[1] == TEXT


def test_the_machines_own_resolver_is_asked_unless_another_is_given():
    assert set(resolve_host("localhost")) <= {"127.0.0.1", "::1"}
    assert FetchRules(max_bytes=1).resolve is resolve_host


@pytest.mark.parametrize("name", ["xn--i-7iq.test", "xn--a.test"])
def test_a_name_that_has_no_readable_unicode_is_asked_and_told_as_it_is(name, tmp_path):
    with hostile({"/pairs": answer(TEXT), "/gone": answer(b"", 404)}) as server:
        its = rules(server, allow=("127.0.0.0/8",), resolve=lambda _: ["127.0.0.1"])
        assert fetch(server.url("/pairs", name), tmp_path, its)[0].url == server.url("/pairs", name)
        assert refusal(server.url("/gone", name), tmp_path, its).message.startswith(f"{name} answered 404")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_proxy_of_the_environment_is_used(scheme, tmp_path, monkeypatch, certificates):
    authority, context = certificates
    with hostile({}) as proxy, hostile({"/pairs": answer(TEXT)}, tls=context if scheme == "https" else None) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        its = rules(server, resolve=lambda _: ["127.0.0.1"], ca_file=authority)
        assert fetch(server.url("/pairs", "a.test", scheme), tmp_path, its)[1] == TEXT
        assert proxy.connections == 0


def test_the_certificate_must_be_of_the_name_while_the_connection_goes_to_the_address(tmp_path, certificates):
    authority, context = certificates
    asked: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    with hostile({"/pairs": answer(TEXT)}, tls=context) as server:
        its = rules(server, resolve=lambda _: ["127.0.0.1"], ca_file=authority)
        assert fetch(server.url("/pairs", "a.test", "https"), tmp_path, its)[1] == TEXT
        assert f"Host: a.test:{server.port}" in server.heads[0]
        (tmp_path / "pairs").unlink()
        for url in (server.url("/pairs", "b.test", "https"), server.url("/pairs", scheme="https")):
            assert refusal(url, tmp_path, its).code == "url_bad_certificate"
        strange = refusal(server.url("/pairs", "a.test", "https"), tmp_path, replace(its, ca_file=None))
        assert strange.code == "url_bad_certificate"
    assert asked == ["a.test", "b.test", None, "a.test"]
    assert len(server.heads) == 1


def test_a_name_server_that_is_away_is_asked_again(tmp_path):
    failures = [socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), TimeoutError("no datagram came")]

    def look_up(_name: str) -> list[str]:
        if failures:
            raise failures.pop()
        return ["127.0.0.1"]

    with hostile({"/pairs": answer(TEXT)}) as server:
        assert fetch(server.url("/pairs", "a.test"), tmp_path, rules(server, resolve=look_up))[1] == TEXT
