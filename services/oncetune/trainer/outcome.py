"""How an attempt ended, as its trainer saw it."""

from dataclasses import dataclass

from pydantic import JsonValue

from oncetune.ledger.leases import EndReason


@dataclass(frozen=True)
class Failure:
    """The recipe cannot succeed, on any attempt."""

    code: str
    message: str


@dataclass(frozen=True)
class Stopped:
    """The attempt ended without a result. `reason=None`: the run is not ours any more."""

    reason: EndReason | None
    message: str = ""


@dataclass(frozen=True)
class Success:
    """The child finished; its adapter waits in the staging folder."""

    metrics: dict[str, JsonValue]
