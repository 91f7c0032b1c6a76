"""What must hold before anything starts: a folder that is ours and writable, room on the disk, a port, a database."""

import errno
import fcntl
import http.client
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy.exc import ArgumentError

from oncetune.postgres import printable

LOCK = "up.lock"


class CannotStart(Exception):
    """The stack cannot come up. Two sentences for a person: what is wrong and why, and what to do about it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}\n{remedy}")
        self.what = what
        self.remedy = remedy


def prepare_folder(data: Path) -> None:
    """Make the data folder with its sub-folders and prove that it can be written; raises CannotStart."""
    try:
        for name in ("", "secrets", "logs", "artifacts", "staging"):
            (data / name).mkdir(parents=True, exist_ok=True)
        (data / "secrets").chmod(0o700)
        probe = data / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except FileExistsError as error:
        raise CannotStart(
            f"The data folder cannot be {data}: {error.filename} is a file.",
            "Give --data a folder, or a name that is still free.",
        ) from error
    except OSError as error:
        raise unusable(data, error) from error


def unusable(data: Path, error: OSError) -> CannotStart:
    """What an error of the file system under `data` means to a person."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CannotStart(
            f"The disk under {data} is full.", "Free some space there, or give --data a folder on another disk."
        )
    reason = error.strerror or type(error).__name__
    return CannotStart(
        f"The data folder {data} cannot be used: {reason.lower()} ({error.filename or data}).",
        "Give --data a folder that you may write to.",
    )


def require_space(data: Path, minimum_bytes: int) -> None:
    """Raise CannotStart when the file system of `data` has less than `minimum_bytes` free."""
    free = shutil.disk_usage(data).free
    if free < minimum_bytes:
        has, needs = (f"{size / 2**20:.0f} MiB" for size in (free, minimum_bytes))
        raise CannotStart(
            f"The disk under {data} has {has} free; at least {needs} are needed.",
            "Free some space there, or give --data a folder on another disk.",
        )


@contextmanager
def sole_user(data: Path) -> Iterator[None]:
    """Hold the data folder while inside; raises CannotStart when another process does.

    The kernel gives the lock back when this process ends, however it ends.
    """
    with (data / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read(100).strip() or "unknown"
            raise CannotStart(
                f"Another oncetune (process {holder}) already uses the data folder {data}.",
                "Use that one, stop it with Ctrl-C, or give --data another folder.",
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def require_port(port: int) -> None:
    """Raise CannotStart unless 127.0.0.1:`port` can be listened on now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: a port in TIME_WAIT is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            reason = (
                "is used by another program"
                if error.errno == errno.EADDRINUSE
                else f"is not to be had: {error.strerror}"
            )
            raise CannotStart(
                f"Port {port} on 127.0.0.1 {reason}.",
                "Stop that program, or choose another port with --port (--port 0 takes a free one).",
            ) from error


def require_database(database_url: str) -> None:
    """Raise CannotStart unless this database can be logged in to."""
    try:
        shown = printable(database_url)
        psycopg.connect(database_url.replace("postgresql+psycopg://", "postgresql://", 1), connect_timeout=5).close()
    except (ArgumentError, psycopg.ProgrammingError) as error:
        raise CannotStart(
            "DATABASE_URL is not a Postgres URL.", "It looks like postgresql://user:password@host:5432/database"
        ) from error
    except psycopg.OperationalError as error:
        reason = " ".join(str(error).split())[:300]
        raise CannotStart(
            f"The database {shown} cannot be reached: {reason}",
            "Start it or correct DATABASE_URL (--database-url); without one, oncetune starts its own Postgres.",
        ) from error


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that nobody listens on at this moment."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def answers(url: str, path: str) -> bool:
    """Whether a GET of this path, on this machine, is answered with 2xx now."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status // 100 == 2
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
