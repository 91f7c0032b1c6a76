"""The way of an event through one broker: publish, daprd, broker, daprd, status. Each part can be taken away."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from sqlalchemy import Engine

from oncetune.contracts.topics import RUN_LIFECYCLE
from oncetune.dapr import NotPublished, sidecar_publisher
from oncetune.ledger.outbox import Pace
from oncetune.local.preflight import answers
from oncetune.local.sidecar import BROKERS, HOST, SidecarPorts, daprd_command, find_components, find_daprd
from oncetune.postgres import connect
from oncetune.serve import create_app
from oncetune.trigger.relay import relay
from tests.brokers.broker import Broker
from tests.brokers.watch import Watch
from tests.dapr.event_path import APP_TOKEN, DAPR_TOKEN
from tests.deadline import eventually
from tests.ledger.given import record
from tests.serving import SECRET, serving_app
from tests.status.given import journalled, rows

DEADLINE = timedelta(seconds=5)
PACE = Pace(deadline=DEADLINE, backoff=timedelta(seconds=0.5), max_backoff=timedelta(seconds=2))
AWAY = "App entered un-healthy status"  # what a sidecar logs when it stops delivering
TOGETHER = ("trigger", "status")  # may publish and subscribe
# A failing delivery is given up after some seven seconds instead of twenty, a missing application noticed after three
# instead of fifteen, and what nobody answered comes back after fifteen instead of three hundred: the same order.
QUICK = {"--app-health-probe-interval": "1", "--app-health-probe-timeout": "900"}
QUICK_RETRIES = {"maxInterval": "1s"}
QUICK_BROKER = {"processingTimeout": "15s", "redeliverInterval": "1s", "backOff": "15s"}


def components_of(broker: str, folder: Path) -> Path:
    """The files of components/ as they are, but for what is quick here."""
    given = find_components()
    assert given
    shutil.copytree(given, folder, ignore=shutil.ignore_patterns("daprd"))
    with edited(folder / "resiliency.yaml") as resiliency:
        resiliency["spec"]["policies"]["retries"]["delivery"] |= QUICK_RETRIES
    with edited(folder / BROKERS / broker / "pubsub.yaml") as component:
        for setting in component["spec"]["metadata"]:
            if setting["name"] in QUICK_BROKER:
                setting["value"] = QUICK_BROKER[setting["name"]]
    return folder


@contextmanager
def edited(file: Path) -> Iterator[dict[str, Any]]:
    """A file of Dapr's, written again with what is changed inside."""
    document = yaml.safe_load(file.read_text())
    yield document
    file.write_text(yaml.safe_dump(document))


def sidecar_command(broker: str, components: Path, ports: SidecarPorts) -> tuple[str, ...]:
    """That of the product, but for QUICK."""
    daprd = find_daprd(os.environ)
    assert daprd, "these tests need a daprd (make daprd)"
    command = daprd_command(daprd, components, TOGETHER, ports, broker=broker)
    return tuple(QUICK.get(before, word) for before, word in zip(("", *command), command, strict=False))


def sidecar_environment(broker: Broker, *, password: str | None = None) -> dict[str, str]:
    """What it reads; another `password` than the broker's is a mistake."""
    base = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    tokens = {"APP_API_TOKEN": APP_TOKEN, "DAPR_API_TOKEN": DAPR_TOKEN, "DAPR_HOST_IP": HOST}
    return {**base, **tokens, **broker.access(password or broker.password)}


@dataclass
class Way:
    """All of it up, until a test takes a part away."""

    broker: Broker
    folder: Path
    database_url: str
    ports: SidecarPorts
    watch: Watch = field(default_factory=Watch)
    _app: ExitStack = field(default_factory=ExitStack)
    _sidecar: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.components = components_of(self.broker.name, self.folder / "components")
        self.log = self.folder / "daprd.log"
        self.publisher = sidecar_publisher()
        self.owner = connect(self.database_url, role=None, pool_size=3)

    def start_app(self) -> None:
        """Return when it serves."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {
                "DATABASE_URL": self.database_url,
                "DPO_GATEWAY_SHARED_SECRET": SECRET,
                "APP_API_TOKEN": APP_TOKEN,
                "ONCETUNE_ENVIRONMENT": "local",
            }.items():
                patch.setenv(name, value)
            self._app.enter_context(serving_app(self.watch.before(create_app(("status",))), port=self.ports.app))

    def stop_app(self) -> None:
        """Return when it is gone; what it had in hand gets no answer."""
        self.watch.held.clear()
        self._app.close()

    @contextmanager
    def without_app(self) -> Iterator[None]:
        """Inside, the application is away and the sidecar has noticed, until it is started again."""
        before = self.told(AWAY)
        self.stop_app()
        eventually(lambda: self.told(AWAY) > before and self.broker.unread(), seconds=20, every=0.1)
        yield

    def start_sidecar(self) -> None:
        """Return when it has its component and, if that is there, its application."""
        with self.log.open("ab") as log:
            command = sidecar_command(self.broker.name, self.components, self.ports)
            self._sidecar = subprocess.Popen(
                command, env=sidecar_environment(self.broker), stdout=log, stderr=log, start_new_session=True
            )
        ready = partial(answers, f"http://{HOST}:{self.ports.http}", "/v1.0/healthz")
        sidecar = self._sidecar
        eventually(lambda: ready() or sidecar.poll() is not None, seconds=60, every=0.1)
        assert sidecar.poll() is None, self.log.read_text().splitlines()[-1]

    def kill_sidecar(self) -> None:
        if self._sidecar:
            self._sidecar.kill()
            self._sidecar.wait()
        self.watch.held.clear()

    def stop_sidecar(self) -> None:
        """Politely: it gives back what it has, and leaves its group."""
        if self._sidecar:
            self._sidecar.terminate()
            self._sidecar.wait(30)

    @contextmanager
    def in_bulk(self) -> Iterator[None]:
        """Inside, `run.lifecycle` is a bulk subscription, as an operator may make it."""
        file = self.components / "subscriptions.yaml"
        given = file.read_text()
        with edited(file) as subscription:
            subscription["spec"]["bulkSubscribe"] = {"enabled": True, "maxMessagesCount": 20, "maxAwaitDurationMs": 100}
        self.stop_sidecar()
        self.start_sidecar()
        yield
        file.write_text(given)
        self.stop_sidecar()
        self.start_sidecar()

    def told(self, words: str) -> int:
        """How often the sidecar's log says so."""
        return self.log.read_text(errors="replace").count(words)

    def publish(self, event: dict[str, Any], topic: str = RUN_LIFECYCLE) -> None:
        """Once; raises NotPublished."""
        self.publisher(topic, event, DEADLINE)

    def publishes(self, event: dict[str, Any]) -> bool:
        """Publish once more; whether the sidecar said that it did."""
        try:
            self.publish(event)
        except NotPublished:
            return False
        return True

    def publish_in_the_end(self, event: dict[str, Any]) -> None:
        """As soon as the sidecar has its broker again."""
        eventually(lambda: self.publishes(event), seconds=45, every=0.2)

    def journalled(self, event: dict[str, Any]) -> bool:
        return event["id"] in journalled(self.owner)

    def arrives(self, event: dict[str, Any], *, seconds: float = 20) -> None:
        eventually(lambda: self.journalled(event), seconds=seconds, every=0.05)

    def pending(self) -> int:
        """What the relay still has to publish."""
        return int(rows(self.owner, "SELECT count(*) FROM ledger.outbox WHERE confirmed_at IS NULL")[0][0])

    @contextmanager
    def relaying(self) -> Iterator[None]:
        """The product's relay works on the ledger while inside."""
        stop, wake = threading.Event(), threading.Event()
        engine: Engine = connect(self.database_url, role="oncetune_trigger", pool_size=2)
        thread = threading.Thread(
            target=relay,
            args=(engine, sidecar_publisher(), PACE),
            kwargs={"wake": wake, "stop": stop, "every": 0.1},
        )
        thread.start()
        try:
            yield
        finally:
            stop.set()
            wake.set()
            thread.join(20)
            engine.dispose()

    def request(self) -> str:
        """Record a run; the id of its event, which waits in the outbox."""
        run_id = record(self.owner, f"kb-{uuid4()}").run_id
        return str(rows(self.owner, "SELECT event_id FROM ledger.outbox WHERE run_id = :id", id=run_id)[0][0])

    def close(self) -> None:
        self.kill_sidecar()
        self.stop_app()
        self.broker.kill()
        self.broker.wipe()
        self.owner.dispose()
