"""Postgres goes away and comes back: nobody is told a false acceptance, and every pool works again within 5 seconds.

The server is one of this file's own, which can be stopped. Its clients reach it by TCP, and where the machine lets us
through a network of our own that loses packets: a connection is half-dead then, and only its own timers tell.
"""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import httpx
import psycopg
import pytest
from sqlalchemy import Engine, text

from oncetune.local.cluster import Cluster, cluster_of, forget
from oncetune.local.postgres_server import start_postgres
from oncetune.local.preflight import prepare_folder
from oncetune.local.processes import Processes
from oncetune.local.signals import Signals
from oncetune.migrations.upgrade import upgrade
from oncetune.postgres import connect
from tests.chaos.forwarder import Forwarder
from tests.chaos.ground import Part, missing_parts
from tests.chaos.network import namespace
from tests.deadline import eventually
from tests.ledger.given import change, rows_of
from tests.serving import free_port, serving, signed
from tests.trainer.working import working
from tests.trigger.asked import ask, document

PROMISED_SECONDS = 5
CALLERS = 12  # more than there are connections
# Seconds: without tcp_user_timeout, what is not answered would be sent again after about 6.6, 13.2 and 26.4 of them.
OUTLASTS_TCP = 14
Outage = AbstractContextManager[None]


@dataclass(frozen=True)
class Server:
    """A Postgres that listens on a port of this machine and can be stopped, hard, and started again."""

    cluster: Cluster
    port: int

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/oncetune"

    def start(self) -> None:
        """Returns when it accepts connections."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        self._control("start", "-o", options, "-l", str(self.cluster.folder / "log"))

    def stop(self) -> None:
        self._control("stop", "-m", "immediate")

    def _control(self, verb: str, *words: str) -> None:
        command = [self.cluster.binaries / "pg_ctl", "-D", self.cluster.folder, "-w", verb, *words]
        subprocess.run(command, user=self.cluster.account, check=True, stdout=subprocess.DEVNULL, cwd="/")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("recovery") / "data"
    prepare_folder(data)
    processes = Processes(data / "logs", signals=Signals(), tell=print)
    cluster = cluster_of(data)
    try:
        start_postgres(cluster, processes, environment={})
    finally:
        processes.stop()
    server = Server(cluster, free_port())
    server.start()
    upgrade(server.url)
    yield server
    server.stop()
    forget(data)


@contextmanager
def restarted(server: Server, _line: object = None) -> Iterator[None]:
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def terminated(server: Server, _line: object) -> Iterator[None]:
    """Every connection is dead, and its pool does not know."""
    yield
    with psycopg.connect(server.url, autocommit=True) as owner:
        owner.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                      " AND backend_type = 'client backend'")  # fmt: skip


def cut(seconds: float) -> Callable[[Server, "Line"], Outage]:
    @contextmanager
    def dropping(_server: Server, line: Line) -> Iterator[None]:
        with line.dropping():
            yield
            Event().wait(seconds)

    return dropping


@dataclass(frozen=True)
class Line:
    """How the clients reach the server, and how to lose all its packets."""

    url: str
    dropping: Callable[[], Outage]


@pytest.fixture(scope="module")
def line(server: Server) -> Iterator[Line]:
    if Part.NETWORK in missing_parts():
        yield Line(server.url, lambda: pytest.fail("no test loses packets here"))
        return
    with namespace() as network, network.listen() as listener:
        port = listener.getsockname()[1]
        with Forwarder({listener: ("127.0.0.1", server.port)}):
            url = f"postgresql://postgres@{network.address}:{port}/oncetune"
            yield Line(url, lambda: network.dropping(port, share=1))


FAULTS = {"restarted": restarted, "terminated": terminated}
if Part.NETWORK not in missing_parts():
    FAULTS |= {"cut for a moment": cut(3.5), "cut for longer than TCP waits": cut(OUTLASTS_TCP)}


def put_off_the_queue(owner: Engine) -> None:
    change(owner, "UPDATE ledger.run SET available_at = now() + interval '1 day' WHERE state = 'queued'")


@pytest.fixture
def owner(server: Server) -> Iterator[Engine]:
    """Beside the line; runs of earlier tests wait for ever."""
    engine = connect(server.url, role=None, pool_size=0)
    put_off_the_queue(engine)
    yield engine
    engine.dispose()


@dataclass(frozen=True)
class Callers:
    """CALLERS of them at once, each with a knowledge base and a key of its own."""

    client: httpx.Client
    owner: Engine
    threads: ThreadPoolExecutor

    def ask(self, when: str) -> dict[str, Future[httpx.Response]]:
        """The answers to come, by knowledge base."""
        names = [f"{when} {number}" for number in range(CALLERS)]
        return {name: self.threads.submit(ask, self.client, document(name), key=name) for name in names}

    def runs(self, name: str) -> list[str]:
        return [str(run.id) for run in rows_of(self.owner, "SELECT id FROM ledger.run WHERE kb_id = :name", name=name)]


@pytest.fixture
def callers(monkeypatch: pytest.MonkeyPatch, line: Line, owner: Engine) -> Iterator[Callers]:
    with (
        serving(monkeypatch, "trigger", "status", database_url=line.url) as client,
        ThreadPoolExecutor(CALLERS) as threads,
    ):
        yield Callers(client, owner, threads)


def told_to_come_again(answer: httpx.Response) -> bool:
    return answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0


def test_while_postgres_is_away_everybody_is_503_and_nothing_of_it_appears_later(
    callers: Callers, server: Server
) -> None:
    known = callers.ask("known")["known 0"].result().json()["run_id"]
    with restarted(server):
        refused = {name: answer.result() for name, answer in callers.ask("away").items()}
        assert all(told_to_come_again(answer) for answer in refused.values())
        assert told_to_come_again(callers.client.get(f"/runs/{known}", headers=signed()))
        assert told_to_come_again(callers.client.post(f"/runs/{known}/cancel", headers=signed()))
    accepted = {name: answer.result() for name, answer in callers.ask("back").items()}
    assert [callers.runs(name) for name in refused] == [[]] * CALLERS
    assert [callers.runs(name) for name in accepted] == [[one.json()["run_id"]] for one in accepted.values()]


@pytest.mark.parametrize("fault", FAULTS)
def test_within_five_seconds_of_an_outage_every_pool_works_and_what_was_accepted_is_there_once(
    callers: Callers, server: Server, line: Line, tmp_path: Path, fault: str
) -> None:
    client, owner, after = callers.client, callers.owner, f"{fault}: after"
    assert {answer.result().status_code for answer in callers.ask(f"{fault}: before").values()} == {200}
    put_off_the_queue(owner)  # the pools are full, and the trainer has nothing to claim yet

    def all_work() -> bool:
        answer = ask(client, document(after), key=after)
        if answer.status_code != 200:
            return False
        read = client.get(f"/runs/{answer.json()['run_id']}", headers=signed())
        return read.status_code == 200 and rows_of(owner, "SELECT FROM ledger.run WHERE state = 'running'") != []

    with working(line.url, tmp_path, "waits"):
        with FAULTS[fault](server, line):
            asked = callers.ask(f"{fault}: meanwhile")
        since = time.monotonic()
        eventually(all_work, seconds=PROMISED_SECONDS)
        assert time.monotonic() - since < PROMISED_SECONDS

    for name, to_come in asked.items():
        answer = to_come.result()
        runs = callers.runs(name)
        if answer.status_code == 200:
            assert runs == [answer.json()["run_id"]]
        else:
            assert told_to_come_again(answer)
            assert len(runs) <= 1, "whether it took effect is unknown"
        again = ask(client, document(name), key=name)
        assert (again.status_code, callers.runs(name)) == (200, [again.json()["run_id"]])


def test_both_ends_of_a_connection_notice_within_ten_seconds_that_the_other_vanished(server: Server) -> None:
    engine = connect(server.url, role="oncetune_status", pool_size=1)
    with engine.connect() as connection:
        idle, interval, count, user_timeout = (
            connection.execute(text(f"SELECT setting::int FROM pg_settings WHERE name = 'tcp_{name}'")).scalar_one()
            for name in ("keepalives_idle", "keepalives_interval", "keepalives_count", "user_timeout")
        )
        assert (0 < idle + interval * count < 10, 0 < user_timeout < 10_000) == (True, True)
        with socket.fromfd(connection.connection.dbapi_connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as ours:
            timers = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT]
            assert [ours.getsockopt(socket.IPPROTO_TCP, timer) for timer in timers] == [
                idle, interval, count, user_timeout,
            ]  # fmt: skip
    engine.dispose()
