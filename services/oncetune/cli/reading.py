"""`oncetune runs list|show|watch|events`."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from oncetune.cli.attempts import attempt_lines, attempts_of
from oncetune.cli.client import SEARCHED, Client, Document, objects, the_one
from oncetune.cli.exits import Failure
from oncetune.cli.output import columns, moment, print_json, put, tell
from oncetune.cli.run_dataset import dataset_words, quality_words
from oncetune.cli.watch import follow, progress_words, require_success


def list_runs(client: Client, *, status: str | None, kb_id: str | None, limit: int, as_json: bool) -> None:
    """Print the newest runs."""
    wanted = {name: value for name, value in (("status", status), ("kb_id", kb_id)) if value}
    found = client.get("/runs", limit=limit, **wanted)
    if as_json:
        print_json(found)
        return
    runs = objects(found.get("runs"))
    if not runs:
        tell("There are no runs.")
        return
    rows = [(_word(run, "run_id"), *_row(run), moment(run.get("created_at")), progress_words(run)) for run in runs]
    for line in columns([("RUN", "KB", "EXPERIMENT", "ATTEMPT", "CREATED", "STATE"), *rows]):
        put(line)


def show_run(client: Client, given: str, *, as_json: bool) -> None:
    """Print one run and its attempts."""
    run_id = resolve(client, given)
    run = client.get(f"/runs/{run_id}")
    attempts = attempts_of(objects(client.get(f"/runs/{run_id}/events").get("events")))
    if as_json:
        print_json({**run, "attempts": attempts})
        return
    told = client.get(f"/runs/{run_id}/dataset")
    print_run({**run, "dataset": told, "quality": quality_words(told.get("quality"))})
    for line in attempt_lines(attempts):
        put(line)


def watch_run(client: Client, given: str, *, timeout: float | None, as_json: bool) -> None:
    """Follow a run and print it at its end; raises Failure unless it is completed."""
    run = follow(client, resolve(client, given), timeout=timeout)
    if as_json:
        print_json(run)
    else:
        print_run(run)
    require_success(run)


def show_events(client: Client, given: str, *, as_json: bool) -> None:
    """Print the audit trail of a run."""
    trail = client.get(f"/runs/{resolve(client, given)}/events")
    if as_json:
        print_json(trail)
        return
    for line in trail_lines(trail):
        put(line)
    tell(f"{trail.get('duplicates')} repeated deliveries were dropped; {trail.get('pending')} events are on their way.")
    if trail.get("conflicts"):
        tell(f"{trail.get('conflicts')} events came with two different contents: somebody forged or broke one.")
    if trail.get("dead_letters"):
        tell(f"{trail.get('dead_letters')} deliveries came back as dead letters: see `oncetune dead-letters list`.")
    if not trail.get("gapless"):
        raise Failure("The trail has a gap.")


def trail_lines(trail: Document) -> list[str]:
    """One line for each event, by position."""
    rows = []
    for event in objects(trail.get("events")):
        data = event.get("data")
        words = _data_words(data) if isinstance(data, dict) else ""
        rows.append((str(event.get("position")), str(event.get("occurred_at"))[:19], str(event.get("type")), words))
    return columns(rows) if rows else []


def print_run(run: Document) -> None:
    """One fact a line."""
    facts = {name: value for name, value in run.items() if name != "progress"}
    times = {name: moment(facts[name]) for name in ("created_at", "started_at", "finished_at") if name in facts}
    if isinstance(run.get("progress"), dict):
        facts["progress"] = progress_words(run)
    if isinstance(dataset := run.get("dataset"), dict):
        facts["dataset"] = dataset_words(dataset)
    for line in columns([(name, _text(value)) for name, value in (facts | times).items()]):
        put(line)


def resolve(client: Client, given: str) -> str:
    """The whole run id that `given` is or begins; raises Failure USAGE when none or several begin so."""
    try:
        return str(UUID(given))
    except ValueError:
        ids = [_word(run, "run_id") for run in objects(client.get("/runs", limit=SEARCHED).get("runs"))]
    return the_one(ids, given, kind="run", see="oncetune runs list")


def _row(run: Mapping[str, Any]) -> tuple[str, str, str]:
    return _word(run, "kb_id"), _word(run, "exp_name"), _word(run, "attempt")


def _word(run: Mapping[str, Any], name: str) -> str:
    return str(run.get(name, "-"))


def _data_words(data: Mapping[str, Any]) -> str:
    """The facts of an event in short; what the columns beside say already is left out."""
    known = ("run_id", "position", "occurred_at", "hyperparameters", "metrics", "dataset_sha256", "adapter_sha256")
    words = (f"{name}={_text(value)}" for name, value in data.items() if name not in known and value is not None)
    return " ".join(words)[:160]


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
