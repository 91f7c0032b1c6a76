"""`oncetune runs …`: look at runs."""

from pathlib import Path
from typing import Annotated

import typer

from oncetune.cli.options import HERE, Data, Json, Url, User, client_of
from oncetune.contracts.run import RunState

RunId = Annotated[str, typer.Argument(help="A run's id, or its first characters.", metavar="RUN")]
Deadline = Annotated[float | None, typer.Option(help="Give up after so many seconds.", min=0)]

app = typer.Typer(help="Look at runs.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(
    status: Annotated[RunState | None, typer.Option(help="Only runs of this status.")] = None,
    kb_id: Annotated[str | None, typer.Option(help="Only runs of this knowledge base.")] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=200)] = 20,
    json_: Json = False,
    url: Url = HERE,
    user: User = "cli",
    data: Data = Path(".oncetune"),
) -> None:
    """The newest runs."""
    from oncetune.cli.reading import list_runs

    with client_of(url, user, data) as client:
        list_runs(client, status=status, kb_id=kb_id, limit=limit, as_json=json_)


@app.command()
def show(run: RunId, json_: Json = False, url: Url = HERE, user: User = "cli", data: Data = Path(".oncetune")) -> None:
    """One run: its state, metrics or error, and its attempts."""
    from oncetune.cli.reading import show_run

    with client_of(url, user, data) as client:
        show_run(client, run, as_json=json_)


@app.command()
def watch(
    run: RunId,
    timeout: Deadline = None,
    json_: Json = False,
    url: Url = HERE,
    user: User = "cli",
    data: Data = Path(".oncetune"),
) -> None:
    """Follow a run to its end. Ctrl-C stops watching, never the run."""
    from oncetune.cli.reading import watch_run

    with client_of(url, user, data) as client:
        watch_run(client, run, timeout=timeout, as_json=json_)


@app.command()
def events(
    run: RunId, json_: Json = False, url: Url = HERE, user: User = "cli", data: Data = Path(".oncetune")
) -> None:
    """The run's numbered audit trail."""
    from oncetune.cli.reading import show_events

    with client_of(url, user, data) as client:
        show_events(client, run, as_json=json_)
