"""A Docker engine, where one answers, and the first of some images that it has or can pull."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import docker
from docker.errors import APIError, DockerException, ImageNotFound


def find_image(*wanted: str) -> str | None:
    """The first of these that is there or can be pulled; None without an engine. testcontainers is then set up."""
    with _engine() as client:
        found = next((image for image in wanted if client and _obtainable(client, image)), None)
    if found:
        _set_up()
    return found


@contextmanager
def _engine() -> Iterator[docker.DockerClient | None]:
    if "DOCKER_HOST" not in os.environ and not _listens("/var/run/docker.sock"):
        yield None  # the client would leave its socket open
        return
    try:
        client = docker.from_env(timeout=120)
    except DockerException:
        yield None  # there is no engine
        return
    try:
        client.ping()
        yield client
    except DockerException:
        yield None
    finally:
        client.close()


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as one:
        return one.connect_ex(path) == 0


def _obtainable(client: docker.DockerClient, image: str) -> bool:
    try:
        client.images.get(image)
    except ImageNotFound:
        try:
            client.images.pull(image)
        except APIError:
            return False
    return True


@cache
def _set_up() -> None:
    from testcontainers.core.config import ConnectionMode, testcontainers_config

    with _engine() as client:  # the reaper only cleans up after a killed run
        testcontainers_config.ryuk_disabled = not (client and _obtainable(client, testcontainers_config.ryuk_image))
    testcontainers_config.sleep_time = 0.2
    if Path("/sys/class/net/docker0").exists():  # mapped ports are on this very machine, /.dockerenv or not
        testcontainers_config.connection_mode_override = ConnectionMode.docker_host
