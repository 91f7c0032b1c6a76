"""The command `oncetune`: its words and their options. What they do is in the modules beside."""

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from oncetune.cli import dataset, dead_letters, runs
from oncetune.cli.exits import TABLE, Exit, Failure
from oncetune.cli.options import HERE, Data, Delivery, IdempotencyKey, Json, Url, User
from oncetune.cli.output import put, tell


class _Doors(TyperGroup):
    """Turns the end of a command into a message and an exit code, in this one place."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Failure as failure:
            tell(f"oncetune: {failure.what}")
            if failure.remedy:
                tell(failure.remedy)
            raise typer.Exit(failure.code) from failure
        except KeyboardInterrupt:
            raise typer.Exit(Exit.INTERRUPTED) from None
        except BrokenPipeError:  # `oncetune runs list | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(Exit.OK) from None


app = typer.Typer(
    cls=_Doors,
    help="Turns a preference dataset into one fine-tuned adapter, once.",
    epilog=TABLE,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(runs.app, name="runs")
app.add_typer(dataset.app, name="dataset")
app.add_typer(dead_letters.app, name="dead-letters")


def _tell_version(wanted: bool) -> None:
    if wanted:
        put(f"oncetune {version('oncetune')}")
        raise typer.Exit(Exit.OK)


@app.callback()
def _before_any_command(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def up(
    data: Data = Path(".oncetune"),
    port: Annotated[int, typer.Option(help="Port of trigger and status; 0 takes a free one.", min=0, max=65535)] = 8080,
    database_url: Annotated[
        str | None, typer.Option(envvar="DATABASE_URL", help="A Postgres of your own in place of the built-in one.")
    ] = None,
    delivery: Delivery = None,
    min_free_mb: Annotated[int, typer.Option(help="Refuse to start with less free disk space.", min=0)] = 1024,
) -> None:
    """Start everything on this machine and stay until Ctrl-C."""
    from oncetune.cli.local import up_until_interrupted

    up_until_interrupted(data, port, database_url, delivery, min_free_mb * 2**20)


@app.command()
def demo(
    data: Annotated[Path, typer.Option(help="The demo's own folder is made inside this one.")] = Path(".oncetune"),
    delivery: Delivery = None,
) -> None:
    """Play the whole job with the built-in model: a real run, asked for several times, trained once."""
    from oncetune.cli.local import play_demo

    play_demo(data, delivery)


@app.command()
def serve(
    services: Annotated[list[str], typer.Argument(help="trigger, status, or both; or trainer", metavar="SERVICE...")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",  # noqa: S104 - a container is reached from outside
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535, envvar="ONCETUNE_PORT")] = 8080,
) -> None:
    """Serve in a deployment; every setting comes from the environment."""
    from oncetune.cli.deployment import serve_until_stopped

    serve_until_stopped(tuple(services), host, port)


@app.command()
def gateway(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", min=1, max=65535)] = 8090,
    data: Annotated[
        Path, typer.Option("--secret-from-data", help="Data folder of `oncetune up`, whose gateway secret is used.")
    ] = Path(".oncetune"),
) -> None:
    """Serve a small gateway to try with: services register, calls are signed. For development only."""
    from oncetune.cli.gateway import serve_gateway

    serve_gateway(data, port)


@app.command()
def migrate(
    database_url: Annotated[str, typer.Option(envvar="DATABASE_URL", help="The database to bring up to date.")],
    wait: Annotated[bool, typer.Option("--wait", help="Change nothing: wait until somebody else has done it.")] = False,
    timeout: Annotated[float, typer.Option(help="With --wait: give up after so many seconds.", min=0)] = 300,
) -> None:
    """Bring the database to this version's schema; harmless when it is there."""
    from oncetune.cli.deployment import migrate_once, wait_until_migrated

    if wait:
        wait_until_migrated(database_url, timeout=timeout)
    else:
        migrate_once(database_url)


@app.command()
def preflight(
    pod_id: Annotated[str | None, typer.Option(envvar="RUNPOD_POD_ID", help="The pod's id, if this is one.")] = None,
    port: Annotated[
        int, typer.Option(envvar="ONCETUNE_PORT", help="Port to serve on; 0: 8080 or a free one.", min=0, max=65535)
    ] = 0,
    gateway_secret: Annotated[
        str | None, typer.Option(envvar="DPO_GATEWAY_SHARED_SECRET", help="Better given by the environment.")
    ] = None,
    register_secret: Annotated[
        str | None, typer.Option(envvar="DPO_REGISTER_SECRET", help="Better given by the environment.")
    ] = None,
    min_free_mb: Annotated[int, typer.Option(help="Fail with less free disk space.", min=0)] = 1024,
    env: Annotated[
        Path | None, typer.Option(help="Write the environment to this file, secrets whole, mode 0600.", dir_okay=False)
    ] = None,
    json_: Json = False,
) -> None:
    """Before a deployment starts: derive its environment from three inputs, check it, and say what to do."""
    from oncetune.cli.preflight import Inputs, preflight

    inputs = Inputs(pod_id or None, port, gateway_secret, register_secret, min_free_mb * 2**20)
    preflight(inputs, file=env, as_json=json_)


@app.command()
def doctor(
    url: Url = HERE,
    base_model: Annotated[str, typer.Option(help="The model that the dry run asks for.")] = "zephyr",
    user: User = "doctor",
    data: Data = Path(".oncetune"),
    json_: Json = False,
) -> None:
    """Examine a running deployment from outside and say what to do; nothing is recorded there."""
    from oncetune.cli.doctor import examine

    examine(url, user=user, base_model=base_model, data=data, as_json=json_)


@app.command()
def submit(
    file: Annotated[
        str | None,
        typer.Argument(help="A JSON array or JSON lines, also gzipped; - reads standard input.", metavar="[FILE]"),
    ] = None,
    *,
    kb_id: Annotated[str, typer.Option(help="The knowledge base to train for; it has one active run at a time.")],
    exp_name: Annotated[str, typer.Option(help="A name for this experiment.")],
    dataset_url: Annotated[str | None, typer.Option(help="In place of FILE: where the service fetches it.")] = None,
    base_model: Annotated[str, typer.Option(help="A model that the service knows.")] = "zephyr",
    hyperparameters: Annotated[str | None, typer.Option(help="A JSON object.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="One hyperparameter, key=value; repeatable.")] = None,
    idempotency_key: IdempotencyKey = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the run to its end.")] = False,
    timeout: Annotated[float | None, typer.Option(help="With --watch: give up after so many seconds.", min=0)] = None,
    json_: Json = False,
    url: Url = HERE,
    user: User = "cli",
    data: Data = Path(".oncetune"),
) -> None:
    """Ask for a run and print its id."""
    from oncetune.cli.client import Client, find_secret
    from oncetune.cli.submit import Submission, submit_and_follow

    submission = Submission(
        file, dataset_url, kb_id, exp_name, base_model, hyperparameters, tuple(set_ or ()), idempotency_key
    )
    with Client(url, user=user, secret=find_secret(data)) as client:
        submit_and_follow(client, submission, watch=watch, timeout=timeout, as_json=json_)
