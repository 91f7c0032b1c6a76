"""The whole system as real processes that may be killed: Postgres, valkey, trigger, status, trainers, a sidecar each.

What ends is started again at once. Leases are two seconds long, see quick.py, and training is tests/chaos/stand_in.py.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import psycopg

from oncetune.local.cluster import Cluster, cluster_of, forget
from oncetune.local.credentials import Credentials, credentials
from oncetune.local.delivery import await_sidecar, choose_parts, sidecar_program, start_broker
from oncetune.local.postgres_server import start_postgres
from oncetune.local.preflight import answers, free_ports, prepare_folder
from oncetune.local.processes import Processes, Program
from oncetune.local.sidecar import HOST, Broker, SidecarPorts, app_environment, daprd_environment
from oncetune.local.signals import Signals
from oncetune.migrations.upgrade import upgrade
from tests.chaos.dataset_server import DatasetServer, dataset_server
from tests.chaos.evidence import Places
from tests.chaos.ground import Ground, ground
from tests.chaos.quick import BAD_RUNS, QUICK
from tests.deadline import eventually

STAND_IN = Path(__file__).with_name("stand_in.py")
READY = timedelta(seconds=60)


@dataclass(frozen=True)
class Service:
    """One process of ours and its sidecar. `name` is unique, `serves` is what it serves."""

    name: str
    serves: str
    ports: SidecarPorts

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.ports.app}"

    @property
    def sidecar(self) -> str:
        return f"daprd-{self.name}"


@dataclass(frozen=True)
class World:
    """A running system, and where its things are."""

    folder: Path
    cluster: Cluster
    broker: Broker
    secrets: Credentials
    processes: Processes
    services: tuple[Service, ...]
    ground: Ground
    datasets: DatasetServer

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    @property
    def staging(self) -> Path:
        """A folder for each trainer."""
        return self.folder / "staging"

    @property
    def temporary(self) -> Path:
        """What the services and their children have for /tmp."""
        return self.folder / "temporary"

    @property
    def served(self) -> Path:
        return self.folder / "served.jsonl"

    @property
    def places(self) -> Places:
        """For the judge."""
        trainers = [self.staging / name for name in self.serving("trainer")]
        return Places(self.artifacts, (*trainers, self.temporary), self.served)

    @property
    def armed(self) -> Path:
        """Crash points that are to go off: see tests/chaos/crash_points.py."""
        return self.folder / "armed"

    @property
    def trigger_url(self) -> str:
        return self.named("trigger").url

    @property
    def database_url(self) -> str:
        return self.cluster.database_url

    def named(self, name: str) -> Service:
        return next(one for one in self.services if one.name == name)

    def serving(self, service: str) -> tuple[str, ...]:
        """The names of the processes that serve it."""
        return tuple(one.name for one in self.services if one.serves == service)

    def pid(self, program: str) -> int | None:
        """Of the process that runs under this name now; None while it is down."""
        return self.processes.pids().get(program)

    def logs(self, service: str) -> Sequence[Path]:
        """Of every process that serves it, the older file included."""
        return [file for name in self.serving(service) for file in (self.folder / "logs").glob(f"{name}.log*")]

    def kill(self, program: str, number: signal.Signals = signal.SIGKILL) -> bool:
        """Send a signal; False when nothing runs under that name just now."""
        pid = self.pid(program)
        if pid is None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def administer(self, sql: str) -> None:
        """Run one statement as the owner of everything."""
        with psycopg.connect(self.database_url, autocommit=True, connect_timeout=5) as connection:
            connection.execute(sql)

    def await_database(self, seconds: float = 60) -> None:
        """Until it takes connections."""
        eventually(self._database_answers, seconds=seconds, every=0.1)

    def await_ready(self, seconds: float = 60) -> None:
        """Until the database takes connections and every service says that it is ready."""
        self.await_database(seconds)
        for one in self.services:
            eventually(partial(answers, one.url, "/ready"), seconds=seconds, every=0.1)

    def _database_answers(self) -> bool:
        try:
            psycopg.connect(self.database_url, connect_timeout=3).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def running_world(
    folder: Path, *, trainers: int = 2, settings: Mapping[str, str] | None = None, training: tuple[str, ...] = ()
) -> Iterator[World]:
    """Everything up while inside, nothing left outside. `training` replaces the stand-in; needs a daprd."""
    prepare_folder(folder)
    for name in ("armed", "temporary"):
        (folder / name).mkdir()
    secrets = credentials(folder)
    processes = Processes(folder / "logs", signals=Signals(), tell=lambda line: None, longest_pause=0.1)
    ports = iter(free_ports(4 * (trainers + 2) + 1))
    names = [
        ("trigger", "trigger"),
        ("status", "status"),
        *((f"trainer-{n}", "trainer") for n in range(1, trainers + 1)),
    ]
    services = tuple(
        Service(name, serves, SidecarPorts(next(ports), next(ports), next(ports), next(ports)))
        for name, serves in names
    )
    cluster, broker = cluster_of(folder), Broker(next(ports), secrets.broker_password)
    apps = {one.name: one.ports.app for one in services}
    with ExitStack() as until:
        until.callback(forget, folder)
        solid = until.enter_context(ground(folder, cluster, broker, apps, clocks=[f"trainer-{trainers}"]))
        datasets = until.enter_context(dataset_server(folder / "served.jsonl"))
        world = World(folder, cluster, broker, secrets, processes, services, solid, datasets)
        until.callback(processes.stop)
        _start(world, settings or {}, training or (sys.executable, str(STAND_IN)))
        processes.watch()
        world.await_ready()
        yield world


def _start(world: World, settings: Mapping[str, str], training: tuple[str, ...]) -> None:
    base = dict(os.environ)
    parts = choose_parts("sidecar", base, lambda line: None)
    assert parts
    start_postgres(world.cluster, world.processes, environment=base)
    upgrade(world.database_url)
    world.administer(BAD_RUNS)
    start_broker(parts, world.broker, world.folder / "broker", world.processes)
    shared = (
        base
        | QUICK
        | {
            "DPO_GATEWAY_SHARED_SECRET": world.secrets.gateway_secret,
            "APP_API_TOKEN": world.secrets.app_token,
            "DAPR_API_TOKEN": world.secrets.dapr_token,
            "ONCETUNE_ENVIRONMENT": "local",
            "ONCETUNE_ARTIFACTS": str(world.artifacts),
            "ONCETUNE_MODEL_CACHE": str(world.folder / "models"),
            "ONCETUNE_TRAINER_FETCH_ALLOW": json.dumps([world.datasets.host]),
            "ONCETUNE_TRAINER_TRAINING_COMMAND": json.dumps(training),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(world.temporary),
        }
        | settings
    )
    tokens = daprd_environment(world.broker, app_token=world.secrets.app_token, dapr_token=world.secrets.dapr_token)
    for one in world.services:
        own = (
            app_environment(one.ports)
            | world.ground.service_environment(one.name)
            | {
                "ONCETUNE_TRAINER_STAGING": str(world.staging / one.name),
                "ONCETUNE_TRAINER_NAME": one.name,
            }
        )
        program = Program(one.name, _command(world, one), {**shared, **own}, stage=2, speaks=True)
        world.processes.start(program)
    sidecars = [
        _sidecar(world, one, sidecar_program(parts, (one.serves,), one.ports, base | tokens, stage=3))
        for one in world.services
    ]
    for program in sidecars:
        world.processes.start(program)
    for one, program in zip(world.services, sidecars, strict=True):
        await_sidecar(program, one.ports, world.processes)


def _sidecar(world: World, service: Service, program: Program) -> Program:
    """Under the name of its one process, and by the lines of that."""
    return replace(
        program,
        name=service.sidecar,
        command=world.ground.sidecar_command(service.name, program.command),
        environment={**program.environment, "ONCETUNE_REDIS_HOST": world.ground.lines[service.name].broker},
    )


def _command(world: World, service: Service) -> tuple[str, ...]:
    """Through the launcher that can let it crash at a named point."""
    launcher = (sys.executable, "-P", "-m", "tests.chaos.launcher", str(world.armed), service.name)
    return (*launcher, "serve", service.serves, "--host", HOST, "--port", str(service.ports.app))
