import socket
from datetime import timedelta
from threading import Event

import pytest

from oncetune.gateway.calls import NoAnswer, call
from tests.serving import free_port


def test_a_name_all_of_whose_addresses_refuse_is_told_in_the_systems_own_words(monkeypatch):
    port = free_port()
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.1", "127.0.0.2")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    with pytest.raises(NoAnswer, match=r"no connection: \[Errno"):
        call("GET", f"http://two.localhost:{port}/health", deadline=timedelta(seconds=5), stop=Event())
