"""`oncetune runs …`: look at runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncetune.cli.options import IdempotencyKey, Json, asking
from oncetune.contracts.run import RunState

if TYPE_CHECKING:
    from oncetune.cli.client import Client

RunId = Annotated[str, typer.Argument(help="A run's id, or its first characters.", metavar="RUN")]
Deadline = Annotated[float | None, typer.Option(help="Give up after so many seconds.", min=0)]

app = typer.Typer(help="Look at runs.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
@asking
def list_(
    client: "Client",
    status: Annotated[RunState | None, typer.Option(help="Only runs of this status.")] = None,
    kb_id: Annotated[str | None, typer.Option(help="Only runs of this knowledge base.")] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=200)] = 20,
    json_: Json = False,
) -> None:
    """The newest runs."""
    from oncetune.cli.reading import list_runs

    list_runs(client, status=status, kb_id=kb_id, limit=limit, as_json=json_)


@app.command()
@asking
def show(client: "Client", run: RunId, json_: Json = False) -> None:
    """One run: its state, metrics or error, and its attempts."""
    from oncetune.cli.reading import show_run

    show_run(client, run, as_json=json_)


@app.command()
@asking
def watch(client: "Client", run: RunId, timeout: Deadline = None, json_: Json = False) -> None:
    """Follow a run to its end. Ctrl-C stops watching, never the run."""
    from oncetune.cli.reading import watch_run

    watch_run(client, run, timeout=timeout, as_json=json_)


@app.command()
@asking
def events(client: "Client", run: RunId, json_: Json = False) -> None:
    """The run's numbered audit trail."""
    from oncetune.cli.reading import show_events

    show_events(client, run, as_json=json_)


@app.command()
@asking
def dataset(
    client: "Client",
    run: RunId,
    download: Annotated[
        Path | None, typer.Option(help="Write the rows to this file, as JSON lines.", dir_okay=False)
    ] = None,
    json_: Json = False,
) -> None:
    """What a run learned from: its rows, their fingerprints, what was found in them, where they trained before."""
    from oncetune.cli.reading import resolve
    from oncetune.cli.run_dataset import download_dataset, show_dataset

    run_id = resolve(client, run)
    if download is not None:
        download_dataset(client, run_id, download)
    if download is None or json_:
        show_dataset(client, run_id, as_json=json_)


@app.command()
@asking
def manifest(client: "Client", run: RunId, json_: Json = False) -> None:
    """Everything that is needed to do a completed run again."""
    from oncetune.cli.reading import resolve
    from oncetune.cli.rerun import show_manifest

    show_manifest(client, resolve(client, run), as_json=json_)


@app.command()
@asking
def rerun(
    client: "Client",
    run: RunId,
    exp_name: Annotated[str | None, typer.Option(help="Another name for the experiment.")] = None,
    idempotency_key: IdempotencyKey = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the run to its end and say what differs.")] = False,
    timeout: Deadline = None,
    json_: Json = False,
) -> None:
    """Do a run again: the same recipe on the same rows, as a new run whose id is printed."""
    from oncetune.cli.reading import resolve
    from oncetune.cli.rerun import rerun

    rerun(
        client,
        resolve(client, run),
        exp_name=exp_name,
        idempotency_key=idempotency_key,
        watch=watch,
        timeout=timeout,
        as_json=json_,
    )


@app.command()
@asking
def artifacts(
    client: "Client",
    run: RunId,
    download: Annotated[
        Path | None,
        typer.Option(help="Fetch and verify every file into this folder; the adapter is unpacked.", file_okay=False),
    ] = None,
    json_: Json = False,
) -> None:
    """Links to the run's adapter, report and log."""
    from oncetune.cli.artifacts import show_artifacts

    show_artifacts(client, run, download=download, as_json=json_)
