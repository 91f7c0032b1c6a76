"""Which texts can be a dataset's URL, and what of one is ever shown."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncetune.datasets.refusal import DatasetRefused
from oncetune.datasets.urls import UNREADABLE, check_url, printable_url, read_url

GOOD = [
    "http://data.example/pairs.jsonl",
    "HTTPS://Data.Example:8443/a/b.jsonl.gz?X-Signature=abc%2F#part",
    "http://data.example",
    "http://data.example./pairs.json",
    "http://minio_1:9000/bucket/pairs.json",
    "http://bücher.example/ähnlich.json?q=ü",
    "http://93.184.216.34/pairs.json",
    "http://[2606:2800:220:1::1]:80/pairs.json",
    "http://1.example/pairs.json",
    "http://0x.example/pairs.json",
    "http://xn--i-7iq.example/pairs.json",  # a heart: in use, though no word of IDNA 2008
    "http://xn--a.example/pairs.json",
    "http://data.example/" + "a" * 8000,
]
BAD = [
    ("", "url_invalid"),
    ("pairs.jsonl", "url_invalid"),
    ("http:/data.example/", "url_invalid"),
    ("http:///pairs.json", "url_invalid"),
    ("//data.example/pairs.json", "url_invalid"),
    ("http://data.example/" + "a" * 8192, "url_invalid"),
    ("http://data.example/a b", "url_invalid"),
    (" http://data.example/", "url_invalid"),
    ("http://data.example/\r\nHost: other", "url_invalid"),
    ("http://da\tta.example/", "url_invalid"),
    ("http://data.example/\x00", "url_invalid"),
    ("http://data.example/\u202elnosj.sriap", "url_invalid"),
    ("http://data.example\\@other.example/", "url_refused_user"),
    ("http://data.example\\.other.example/", "url_invalid"),
    ("http://data%2eexample/", "url_invalid"),
    ("http://[fe80::1%25eth0]/", "url_invalid"),
    ("http://[::1/", "url_invalid"),
    ("http://[::1]x/", "url_invalid"),
    ("http://[::g]/", "url_invalid"),
    ("http://a..b/", "url_invalid"),
    ("http://.a/", "url_invalid"),
    ("http://a../", "url_invalid"),
    ("http://-a.example/", "url_invalid"),
    ("http://a:b/", "url_invalid"),
    ("http://a:+80/", "url_invalid"),
    ("http://a:80:80/", "url_invalid"),
    ("http://a:123456/", "url_invalid"),
    ("http://xn--/", "url_invalid"),
    ("http://" + "a." * 130 + "example/", "url_invalid"),
    ("http://a:0/", "url_refused_port"),
    ("http://a:65536/", "url_refused_port"),
    ("ftp://data.example/", "url_refused_scheme"),
    ("file:///etc/passwd", "url_refused_scheme"),
    ("gopher://data.example/", "url_refused_scheme"),
    ("http+unix://socket/", "url_refused_scheme"),
    ("http://ann@data.example/", "url_refused_user"),
    ("http://ann:pass@data.example/", "url_refused_user"),
    ("http://@data.example/", "url_refused_user"),
    ("http://127.1/", "url_refused_address"),
    ("http://2130706433/", "url_refused_address"),
    ("http://1.2.3.4.5/", "url_refused_address"),
    ("http://127.0.0.0x1/", "url_refused_address"),
]


@pytest.mark.parametrize("url", GOOD)
def test_a_web_address_without_a_user_can_be_a_datasets_and_is_shown(url):
    check_url(url)
    assert printable_url(url).startswith("http")


@pytest.mark.parametrize(("url", "code"), BAD)
def test_another_text_is_refused_with_a_code_and_a_sentence(url, code):
    with pytest.raises(DatasetRefused) as refused:
        check_url(url)
    assert refused.value.code == code
    assert refused.value.message


def test_a_url_is_read_as_the_host_that_is_asked():
    read = read_url("HTTP://Bücher.Example.:80/ähnlich.json?q=1#part")
    assert (read.raw_host, read.port, read.raw_path) == (b"xn--bcher-kva.example", None, b"/%C3%A4hnlich.json?q=1")


@pytest.mark.parametrize("host", ["FD00::7", "fd00:0:0::7"])
def test_an_ipv6_address_is_read_in_its_usual_spelling_as_the_allow_list_has_it(host):
    url = read_url(f"http://[{host}]:9000/pairs.json")
    assert (url.raw_host, url.netloc) == (b"fd00::7", b"[fd00::7]:9000")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://data.example/a b.json", "a blank; write it as %20"),
        ("http://data.example/a\x07.json", "a sign that cannot be printed"),
        ("http://data.example/" + "a" * 8192, "more than 8192 characters"),
        ("javascript:void", "no http:// or https://"),
    ],
)
def test_what_is_wrong_with_a_url_is_told_and_nothing_else(url, words):
    with pytest.raises(DatasetRefused) as refused:
        check_url(url)
    assert refused.value.message.startswith(f"The dataset's URL has {words}")


def test_a_shown_url_has_no_user_no_query_and_no_fragment():
    shown = printable_url("https://ann:pass@data.example:8443/a/pairs.jsonl?X-Signature=abc#token")
    assert shown == "https://data.example:8443/a/pairs.jsonl"


@pytest.mark.parametrize(
    "text", ["", "pass:word@x", "ann:pass@data.example/x", "mailto:ann@x", "http://[::1/", "http://"]
)
def test_what_is_no_url_is_not_shown(text):
    assert printable_url(text) == UNREADABLE


@given(st.text() | st.builds("http://{}/{}".format, st.text(), st.text()))
def test_no_text_is_an_error_of_ours(text):
    assert isinstance(printable_url(text), str)
    with suppress(DatasetRefused):
        read = read_url(text)
        assert read.raw_host
        assert read.raw_path.isascii()


@given(st.text(alphabet="abc123", min_size=12), st.sampled_from(["ftp", "http", "https"]))
def test_a_refusal_tells_no_secret(secret, scheme):
    for url in (f"{scheme}://ann:{secret}@h/", f"{scheme}://h:0/?{secret}", f"{scheme}://h/ #{secret}"):
        with pytest.raises(DatasetRefused) as refused:
            check_url(url)
        assert secret not in refused.value.message
