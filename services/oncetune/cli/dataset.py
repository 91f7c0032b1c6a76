"""`oncetune dataset …`: look at a dataset before it is sent."""

from typing import Annotated, Literal

import typer

from oncetune.cli.options import Json

app = typer.Typer(help="Look at a dataset before it is sent.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def check(
    file: Annotated[
        str, typer.Argument(help="A JSON array or JSON lines, also gzipped; - reads standard input.", metavar="FILE")
    ],
    max_mb: Annotated[int, typer.Option(help="Refuse more MiB, decoded.", min=1, envvar="DPO_MAX_DATASET_SIZE_MB")] = 5,
    quality_gate: Annotated[
        Literal["off", "warn", "block"],
        typer.Option(
            help="off: do not look at the quality; block: refuse what it calls an error.",
            envvar="ONCETUNE_TRIGGER_QUALITY_GATE",
        ),
    ] = "warn",
    hyperparameters: Annotated[str | None, typer.Option(help="Those of the run, a JSON object.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="One hyperparameter, key=value; repeatable.")] = None,
    json_: Json = False,
) -> None:
    """Tell its format, its fingerprints and its quality; exit with 1 when a run would be refused."""
    from oncetune.cli.dataset_check import Check, check_dataset
    from oncetune.cli.hyperparameters import judged_hyperparameters

    knobs = judged_hyperparameters(hyperparameters, tuple(set_ or ()))
    check_dataset(Check(file, max_mb * 2**20, quality_gate, knobs), as_json=json_)
