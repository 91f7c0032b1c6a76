"""The secrets of one machine: made once, kept in the data folder, readable by their owner only."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Credentials:
    """What the gateway signs with, the two tokens by which sidecar and application know each other, the broker's,
    and what a service registers with at the development gateway."""

    gateway_secret: str
    app_token: str
    dapr_token: str
    broker_password: str
    register_secret: str


def credentials(data: Path) -> Credentials:
    """Read the secrets of this data folder; what is missing is made. Raises OSError."""
    folder = data / "secrets"
    names = ("gateway", "app-token", "dapr-token", "broker-password", "register")
    with _alone(folder):
        return Credentials(*(_made_once(folder / name) for name in names))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time: `up` and `gateway` may begin in the same moment, and share what the first one makes."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_gateway_secret(data: Path) -> str | None:
    """The gateway secret of a stack that was started on this data folder; None when there is none to read."""
    try:
        return (data / "secrets" / "gateway").read_text("ascii").strip() or None
    except OSError:
        return None


def _made_once(path: Path) -> str:
    if path.exists() and (kept := path.read_text("ascii").strip()):
        return kept
    made = secrets.token_urlsafe(32)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(made)
    new.rename(path)  # whole or not at all
    return made
