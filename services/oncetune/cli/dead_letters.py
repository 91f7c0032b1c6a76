"""`oncetune dead-letters …`: look at what the topics gave up on, and decide about it."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from oncetune.cli.options import Json, asking

if TYPE_CHECKING:
    from oncetune.cli.client import Client

LetterId = Annotated[str, typer.Argument(help="A dead letter's id, or its first characters.", metavar="LETTER")]

app = typer.Typer(
    help="Look at what the topics gave up on, and decide about it.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("list")
@asking
def list_(
    client: "Client",
    status: Annotated[Literal["open", "all"], typer.Option(help="open: those that nobody decided about.")] = "open",
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=200)] = 20,
    json_: Json = False,
) -> None:
    """The newest dead letters."""
    from oncetune.cli.letters import list_letters

    list_letters(client, status=status, limit=limit, as_json=json_)


@app.command()
@asking
def show(client: "Client", letter: LetterId, json_: Json = False) -> None:
    """One dead letter: why it failed, when, and the event that it is."""
    from oncetune.cli.letters import show_letter

    show_letter(client, letter, as_json=json_)


@app.command()
@asking
def replay(client: "Client", letter: LetterId, json_: Json = False) -> None:
    """Offer its event to the journal, once: ok, duplicate or conflict. What is no event can only be discarded."""
    from oncetune.cli.letters import decide

    decide(client, letter, "replay", as_json=json_)


@app.command()
@asking
def discard(client: "Client", letter: LetterId, json_: Json = False) -> None:
    """Say that it was looked at and needs nothing. Its bytes stay where they are."""
    from oncetune.cli.letters import decide

    decide(client, letter, "discard", as_json=json_)
