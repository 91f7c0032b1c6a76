"""What watches a fetch, and what its server shows."""

import ssl
import sys

import pytest
import trustme

_watching: list[list[object]] = []


def _look(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect":
        for seen in _watching:
            seen.append(arguments[1])


sys.addaudithook(_look)  # for good: an audit hook cannot be taken away


@pytest.fixture
def connections():
    """The addresses that this process connected to since the test began, told by the interpreter itself."""
    seen: list[object] = []
    _watching.append(seen)
    yield seen
    _watching.remove(seen)


@pytest.fixture
def certificates(tmp_path_factory):
    """The file of an authority, and a server's context with its certificate for a.test."""
    authority, folder = trustme.CA(), tmp_path_factory.mktemp("certificates")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("a.test").configure_cert(context)
    return folder / "authority.pem", context
