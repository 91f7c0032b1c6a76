"""Options that several commands share, and the client that they ask with."""

from collections.abc import Callable
from inspect import Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, Literal

import typer

if TYPE_CHECKING:
    from oncetune.cli.client import Client

Data = Annotated[Path, typer.Option(help="Data folder of `oncetune up`; the secret is read from it.")]
Delivery = Annotated[
    Literal["sidecar", "direct"] | None,
    typer.Option(help="How events travel; without it, sidecars where a daprd is found."),
]
Url = Annotated[
    str,
    typer.Option(envvar="ONCETUNE_URL", help="Where trigger and status answer; two with a comma between, if apart."),
]
User = Annotated[str, typer.Option(envvar="ONCETUNE_USER", help="The user to act as.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
IdempotencyKey = Annotated[
    str | None, typer.Option(help="The same key and request never make a second run. Made here when left out.")
]
HERE = "http://127.0.0.1:8080"


def asking(command: Callable[Concatenate["Client", ...], None]) -> Callable[..., None]:
    """As a command of Typer's: with --url, --user and --data in place of the client that is made of them.

    It raises Failure when there is no secret.
    """
    _client, *own = signature(command).parameters.values()

    def ask(*, url: str, user: str, data: Path, **given: Any) -> None:
        from oncetune.cli.client import Client, find_secret  # httpx and the signature: not for `--help`

        with Client(url, user=user, secret=find_secret(data)) as client:
            command(client, **given)

    ask.__name__, ask.__doc__ = command.__name__, command.__doc__
    ask.__signature__ = Signature([*own, *signature(_options).parameters.values()])  # type: ignore[attr-defined]  # read by Typer
    return ask


def _options(url: Url = HERE, user: User = "cli", data: Data = Path(".oncetune")) -> None:
    """Of every command that asks."""
