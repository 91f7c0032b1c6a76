"""A Docker engine, where one answers, and the first of some images that it has or can pull."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path

import docker
from docker.errors import APIError, DockerException, ImageNotFound

# Made here, by ../shared/docker or `make images`. No registry is asked for them: whoever took the name there would be
# run here.
_MADE_HERE = "oncetune-"


def find_image(*wanted: str) -> str | None:
    """The first of these that is there or can be pulled; None without an engine. testcontainers is then set up."""
    with _engine() as client:
        found = next((image for image in wanted if client and _obtainable(client, image)), None)
    if found:
        _set_up()
    return found


def is_offered(*wanted: str) -> bool:
    """Whether one of these is there or a registry has it; nothing is pulled, so that a look at the tests stays one."""
    with _engine() if wanted else nullcontext() as client:
        return client is not None and any(_here(client, image) or _in_registry(client, image) for image in wanted)


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
        yield client if _answers(client) else None
    finally:
        client.close()


def _answers(client: docker.DockerClient) -> bool:
    try:
        client.ping()
    except DockerException:
        return False
    return True


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as one:
        return one.connect_ex(path) == 0


def _obtainable(client: docker.DockerClient, image: str) -> bool:
    if _here(client, image):
        return True
    if image.startswith(_MADE_HERE):
        return False
    try:
        client.images.pull(image)
    except APIError:
        return False
    return True


def _here(client: docker.DockerClient, image: str) -> bool:
    try:
        client.images.get(image)
    except ImageNotFound:
        return False
    return True


def _in_registry(client: docker.DockerClient, image: str) -> bool:
    if image.startswith(_MADE_HERE):
        return False
    try:
        client.images.get_registry_data(image)
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
