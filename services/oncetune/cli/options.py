"""Options that several commands share, and the client that they ask for."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
HERE = "http://127.0.0.1:8080"


def client_of(url: str, user: str, data: Path) -> "Client":
    """`with client_of(...) as client:`; raises Failure when there is no secret."""
    from oncetune.cli.client import Client, find_secret  # httpx and the signature: not for `--help`

    return Client(url, user=user, secret=find_secret(data))
