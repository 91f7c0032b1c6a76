"""Redis, RabbitMQ and NATS as containers, where a Docker engine has or can pull an image; Kafka is never one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.brokers.broker import HOST, PASSWORD, Broker
from tests.brokers.packages import (
    AMQP,
    INFO,
    PING,
    jetstream_access,
    make_streams,
    nobody_blocked,
    rabbitmq_access,
    redis_access,
)
from tests.containers import find_image
from tests.dapr.event_path import free_ports

# The first that is there or can be pulled.
IMAGES = {
    "redis": ("oncetune-test/redis:valkey9", "redis:8"),
    "rabbitmq": ("oncetune-test/rabbitmq:bookworm", "rabbitmq:4"),
    "jetstream": ("oncetune-test/nats:2", "nats:2"),
}


@dataclass
class Container:
    """A container that keeps its port and its data when it is killed and started again."""

    image: str
    command: str
    port: int
    inner_port: int
    _container: Any = field(default=None, init=False)

    @property
    def kind(self) -> str:
        return f"testcontainers, {self.image}"

    def start(self) -> None:
        from testcontainers.core.container import DockerContainer  # slow, and often not needed

        if self._container is None:
            self._container = DockerContainer(self.image).with_command(self.command)
            self._container.ports[self.inner_port] = (HOST, self.port)
            self._container.start()
        else:
            self._container.get_wrapped_container().start()

    def kill(self) -> None:
        if self._container:
            self._container.get_wrapped_container().kill()

    def wipe(self) -> None:
        if self._container:
            self._container.stop()
            self._container = None


def redis(image: str, port: int) -> Broker:
    command = f"redis-server --requirepass {PASSWORD} --appendonly yes --maxmemory-policy noeviction"
    runner = Container(image, command, port, 6379)
    return Broker("redis", runner, port, redis_access(port), PING, unread=lambda: nobody_blocked(port))


def rabbitmq(image: str, port: int) -> Broker:
    runner = Container(image, "", port, 5672)
    return Broker("rabbitmq", runner, port, rabbitmq_access(port, "guest"), AMQP, password="guest")


def jetstream(image: str, port: int) -> Broker:
    runner = Container(image, f"-js -sd /data --auth {PASSWORD}", port, 4222)
    return Broker("jetstream", runner, port, jetstream_access(port), INFO, lambda: make_streams(port))


_MAKE: dict[str, Callable[[str, int], Broker]] = {"redis": redis, "rabbitmq": rabbitmq, "jetstream": jetstream}


def container_of(name: str) -> Broker | None:
    """The broker as a container; None where there is no engine or no image."""
    image = find_image(*IMAGES[name]) if name in IMAGES else None
    return _MAKE[name](image, free_ports(1)[0]) if image else None
