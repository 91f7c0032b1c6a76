"""`oncetune runs manifest` and `oncetune runs rerun`: do a run again, and say what was different."""

import json

from pydantic import JsonValue, ValidationError

from oncetune.cli.client import Client, Document, Unreachable
from oncetune.cli.exits import Failure
from oncetune.cli.output import columns, print_json, put, tell
from oncetune.cli.submit import chosen_key, send
from oncetune.cli.watch import follow, require_success
from oncetune.contracts.manifest import Manifest, differences

Differences = dict[str, tuple[JsonValue, JsonValue]]
_WEIGHTS = "weights_sha256"


def show_manifest(client: Client, run_id: str, *, as_json: bool) -> None:
    """Print everything that is needed to do the run again."""
    told = client.get(f"/runs/{run_id}/manifest")
    if as_json:
        print_json(told)
        return
    rows = []
    for name, value in told.items():
        inner = {f"{name}.{one}": member for one, member in value.items()} if isinstance(value, dict) else {name: value}
        rows += [(one, _words(member)) for one, member in inner.items()]
    for line in columns(rows) if rows else []:
        put(line)


def rerun(
    client: Client,
    parent: str,
    *,
    exp_name: str | None,
    idempotency_key: str | None,
    watch: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Ask for the run again and print the new id; with `watch` follow it and say what differs. Raises Failure."""
    body = b"" if exp_name is None else json.dumps({"exp_name": exp_name}).encode()
    key = chosen_key(idempotency_key)
    answer, replayed = send(client, body, key, path=f"/runs/{parent}/rerun")
    run_id = str(answer.get("run_id"))
    result: Document = {**answer, "parent_run_id": parent, "idempotency_key": key, "replayed": replayed}
    if not as_json:
        put(run_id)
        tell(f"It repeats {parent}. Its Idempotency-Key is {key}")
        tell(f"Follow it with: oncetune runs watch {run_id}")
    run: Document = {}
    found: Differences | None = None
    try:
        if watch:
            run = follow(client, run_id, timeout=timeout)
            require_success(run)
            found = _compare(client, parent, run_id)
    finally:  # who stops looking early still learns which run it is
        if as_json:
            print_json(result | _told(run, found))
    if watch and not as_json:
        for line in difference_lines(found):
            put(line)


def _told(run: Document, found: Differences | None) -> Document:
    if not run:
        return {}
    told: Document = {"status": run.get("status"), "run": run}
    if found is not None:
        told |= {"same_weights": _WEIGHTS not in found, "differences": {name: list(two) for name, two in found.items()}}
    return told


def _compare(client: Client, parent: str, run_id: str) -> Differences | None:
    """What the parent's manifest and the rerun's say differently; None when either has none. Raises Unreachable."""
    try:
        one, other = (Manifest.model_validate(client.get(f"/runs/{name}/manifest")) for name in (parent, run_id))
    except Unreachable:
        raise
    except (Failure, ValidationError):
        return None
    return differences(one, other)


def difference_lines(found: Differences | None) -> list[str]:
    """What a person is told of it: a table, and one sentence on what matters, the weights."""
    if found is None:
        return ["The two runs cannot be compared: one of them has no manifest."]
    if not found:
        return ["Nothing differs: the same adapter weights."]
    same = "The adapter weights are the same." if _WEIGHTS not in found else "The adapter weights differ."
    if set(found) == {_WEIGHTS}:
        return [f"{same} Nothing that is recorded explains it: the machine does not compute the same twice."]
    rows = [(name, *map(_words, two)) for name, two in found.items() if name != _WEIGHTS]
    return [*columns([("DIFFERS", "PARENT", "RERUN"), *rows]), same]


def _words(value: JsonValue) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
