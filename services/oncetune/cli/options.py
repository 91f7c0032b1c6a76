"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Data = Annotated[Path, typer.Option(help="Data folder of `oncetune up`; the secret is read from it.")]
Delivery = Annotated[
    Literal["sidecar", "direct"] | None,
    typer.Option(help="How events travel; without it, sidecars where a daprd is found."),
]
Url = Annotated[str, typer.Option(envvar="ONCETUNE_URL", help="Where trigger and status answer.")]
User = Annotated[str, typer.Option(envvar="ONCETUNE_USER", help="The user to act as.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
