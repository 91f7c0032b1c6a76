"""A namespace with a network of its own, whose packets can be dropped: what is below TCP breaks as it does in a rack.

Processes stay where they are. What they connect to listens inside, at the far end of a veth pair, and carries the
bytes on. So the kernels at both ends hold real connections: they send again, wait, and give up by their own rules.
"""

import ctypes
import ipaddress
import itertools
import os
import random
import re
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_BENCHMARKING = ipaddress.ip_network("198.18.0.0/15")  # RFC 2544: nobody's network
_numbers = itertools.count()


@dataclass
class Namespace:
    """`address` is its own, as everybody here reaches it; `dropped` counts packets."""

    name: str
    address: str
    dropped: int = 0

    def listen(self) -> socket.socket:
        """A socket that listens inside, on a port of its own; whoever has it need not be there."""
        with ThreadPoolExecutor(1) as elsewhere:  # a thread moves alone, and this one ends there
            return elsewhere.submit(self._listen_inside).result()

    @contextmanager
    def dropping(self, port: int, *, share: float, arriving: bool = True, leaving: bool = True) -> Iterator[None]:
        """Lose that share of the packets to and from this port while inside; all of them with 1."""
        luck = [] if share >= 1 else ["-m", "statistic", "--mode", "random", "--probability", str(share)]
        rules = [["INPUT", "-p", "tcp", "--dport", str(port)]] * arriving
        rules += [["OUTPUT", "-p", "tcp", "--sport", str(port)]] * leaving
        with ExitStack() as undo:
            undo.callback(self._iptables, "-F")
            undo.callback(self._count)
            for rule in rules:
                self._iptables("-I", *rule, *luck, "-j", "DROP")
            yield

    def _count(self) -> None:
        """-c: each rule with its packets and bytes."""
        self.dropped += sum(map(int, re.findall(r"-c (\d+) \d+ -j DROP", self._iptables("-S", "-v"))))

    def _iptables(self, *words: str) -> str:
        return _run("ip", "netns", "exec", self.name, "iptables", "-w", *words)

    def _listen_inside(self) -> socket.socket:
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/run/netns", self.name).open() as inside:
            if libc.setns(inside.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter the namespace {self.name}")
        return socket.create_server((self.address, 0), backlog=128)


@contextmanager
def namespace() -> Iterator[Namespace]:
    """A new one, linked to ours, gone afterwards; those whose owner was killed go first. Needs CAP_NET_ADMIN."""
    _sweep()
    name = f"chaos-{os.getpid()}-{next(_numbers)}"
    near, far = (f"c{os.getpid()}{end}{name.rpartition('-')[2]}" for end in "nf")
    ours, its = _free_addresses()
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", name)  # goes with the namespace
        _run("ip", "address", "add", f"{ours}/30", "dev", near)
        _run("ip", "link", "set", near, "up")
        _run("ip", "-n", name, "address", "add", f"{its}/30", "dev", far)
        _run("ip", "-n", name, "link", "set", far, "up")
        yield Namespace(name, its)
    finally:
        _run("ip", "link", "delete", near, check=False)  # sockets may keep the namespace for a while
        _run("ip", "netns", "delete", name)


def _free_addresses() -> tuple[str, str]:
    taken = _run("ip", "-o", "-4", "address")
    while True:
        start = _BENCHMARKING[random.randrange(0, _BENCHMARKING.num_addresses, 4)]
        ours, its = map(str, ipaddress.ip_network((start, 30)).hosts())
        if f" {ours}/" not in taken:
            return ours, its


def _sweep() -> None:
    for name in re.findall(r"^chaos-\d+-\d+", _run("ip", "netns", "list"), re.MULTILINE):
        if not Path("/proc", name.split("-")[1]).exists():
            _run("ip", "netns", "delete", name, check=False)


def _run(*words: str, check: bool = True) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout
