"""Where a redirect leads: at most three times, each judged like the first URL."""

import pytest

from tests.datasets.fetching import fetch, refusal, rules
from tests.datasets.hostile import answer, hostile, redirect

TEXT = b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n'


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_three_redirects_are_followed_and_a_fourth_is_not(status, tmp_path):
    chain = {f"/{hop}": redirect(f"/{hop + 1}", status) for hop in range(4)} | {"/4": answer(TEXT)}
    with hostile(chain) as server:
        assert fetch(server.url("/1"), tmp_path, rules(server))[0].redirects == 3
        (tmp_path / "pairs").unlink()
        server.heads.clear()
        assert refusal(server.url("/0"), tmp_path, rules(server)).code == "url_too_many_redirects"
        assert server.paths() == ["/0", "/1", "/2", "/3"]


REDIRECTS = {
    "to itself": ("/pairs", "url_too_many_redirects"),
    "to the metadata": ("http://169.254.169.254/latest/meta-data/", "url_refused_address"),
    "to the metadata, by other words": ("http://[::ffff:a9fe:a9fe]/latest/", "url_refused_address"),
    "to a number": ("http://2852039166/latest/", "url_refused_address"),
    "to this machine": ("http://localhost/", "url_refused_address"),
    "to another port": ("http://127.0.0.1:22/", "url_refused_port"),
    "to a file": ("file:///etc/passwd", "url_refused_scheme"),
    "to a gopher": ("gopher://127.0.0.1:6379/_INFO", "url_refused_scheme"),
    "with a user": ("//ann:secret@127.0.0.1/", "url_refused_user"),
    "to nowhere": ("", "url_bad_answer"),
    "to a broken host": ("http://[::1/", "url_invalid"),
    "to no text": ("http://a\udcff/", "url_invalid"),
}


@pytest.mark.parametrize(("location", "code"), REDIRECTS.values(), ids=REDIRECTS)
def test_each_redirect_is_judged_like_the_first_url(location, code, tmp_path):
    script = redirect("@").replace(b"@", location.encode(errors="surrogateescape"), 1)
    with hostile({"/pairs": script}) as server:
        its = rules(server, ports=frozenset({80}), allow=(f"127.0.0.1:{server.port}",))
        refused = refusal(server.url("/pairs"), tmp_path, its)
    assert refused.code == code
    assert "secret" not in refused.message


def test_a_redirect_from_https_to_http_is_refused(tmp_path, certificates):
    authority, context = certificates
    with hostile({"/pairs": answer(TEXT)}) as plain:
        with hostile({"/start": redirect(plain.url("/pairs")), "/on": redirect("/start")}, tls=context) as server:
            its = rules(server, resolve=lambda _: ["127.0.0.1"], ca_file=authority, ports={server.port, plain.port})
            for path in ("/start", "/on"):
                refused = refusal(server.url(path, "a.test", "https"), tmp_path, its)
                assert refused.code == "url_refused_downgrade"
        assert plain.connections == 0


def test_a_refusal_never_tells_the_query(tmp_path):
    scripts = {"/a?key=secret": redirect("/b?key=secret"), "/b?key=secret": answer(b"secret", 403)}
    with hostile(scripts) as server:
        refused = refusal(server.url("/a?key=secret"), tmp_path, rules(server))
    assert refused.message == f"127.0.0.1 answered 403 for {server.url('/b')}; the URL must work without a login"
