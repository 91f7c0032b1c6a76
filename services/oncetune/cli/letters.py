"""`oncetune dead-letters list|show|replay|discard`."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from oncetune.cli.client import SEARCHED, Client, objects, the_one
from oncetune.cli.exits import Failure
from oncetune.cli.output import columns, print_json, put, tell

_WHOLE = re.compile("[0-9a-f]{64}:[a-z.]+")
_SHOWN = 12  # characters of an id
_DONE = {"replay": "replayed", "discard": "discarded"}


def list_letters(client: Client, *, status: str, limit: int, as_json: bool) -> None:
    """Print the newest dead letters."""
    found = client.get("/dead-letters", status=status, limit=limit)
    if as_json:
        print_json(found)
        return
    letters = objects(found.get("dead_letters"))
    if not letters:
        tell("There are no dead letters." if status == "all" else "No dead letter waits for a decision.")
        return
    for line in columns([("LETTER", "TOPIC", "RECEIVED", "BYTES", "DECISION", "REASON"), *map(_row, letters)]):
        put(line)


def show_letter(client: Client, given: str, *, as_json: bool) -> None:
    """Print one dead letter, a fact a line."""
    letter = client.get(f"/dead-letters/{_resolve(client, given)}")
    if as_json:
        print_json(letter)
        return
    facts = [(name, str(value)) for name, value in letter.items() if not isinstance(value, dict)]
    for name in ("event", "decision"):
        told = letter.get(name)
        facts += _facts(name, told) if isinstance(told, dict) else []
    for line in columns(facts):
        put(line)
    if "event" not in letter:
        tell("It is no event of a run, so it can only be discarded.")


def decide(client: Client, given: str, verb: Literal["replay", "discard"], *, as_json: bool) -> None:
    """Decide and print what stands; raises Failure when that is another one, or a conflict."""
    decided = client.post(f"/dead-letters/{_resolve(client, given)}/{verb}", b"", {})[0]
    if as_json:
        print_json(decided)
    else:
        put(_decision(decided))
    by = f"by {decided.get('decided_by')} at {str(decided.get('decided_at'))[:19]}"
    if decided.get("decision") != _DONE[verb]:
        raise Failure(f"It was {decided.get('decision')} before, {by}, and that stands.")
    if decided.get("outcome") == "conflict":
        raise Failure(f"Under its id the journal holds an event with other content (asked {by}).")


def _resolve(client: Client, given: str) -> str:
    """The whole id that `given` is or begins; raises Failure USAGE when none or several begin so."""
    if _WHOLE.fullmatch(given):
        return given
    newest = client.get("/dead-letters", status="all", limit=SEARCHED).get("dead_letters")
    ids = [str(one.get("id")) for one in objects(newest)]
    return the_one(ids, given, kind="dead letter", see="oncetune dead-letters list --status all")


def _row(letter: Mapping[str, Any]) -> tuple[str, ...]:
    decided = letter.get("decision")
    return (
        str(letter.get("id"))[:_SHOWN],
        str(letter.get("topic")),
        str(letter.get("received_at"))[:19],
        str(letter.get("size")),
        _decision(decided) if isinstance(decided, dict) else "-",
        str(letter.get("reason")),
    )


def _decision(decided: Mapping[str, Any]) -> str:
    """`replayed: ok`, `discarded`."""
    outcome = decided.get("outcome")
    return str(decided.get("decision")) + (f": {outcome}" if outcome else "")


def _facts(of: str, told: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    for name, value in told.items():
        facts += _facts(f"{of}.{name}", value) if isinstance(value, dict) else [(f"{of}.{name}", str(value))]
    return facts
