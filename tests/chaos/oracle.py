"""The verdict: did each promise hold? It asks the client's journal, the tables and the disk, and nothing of ours that
runs. Each rule is a function that yields what it found broken; tests/chaos/test_oracle.py shows that each can.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

from oncetune.contracts.envelope import UnreadableEvent, open_envelope, read_envelope
from tests.chaos import dataset_rules
from tests.chaos.case import Case
from tests.chaos.client_journal import Answer
from tests.chaos.evidence import journal_rows, published_hash

TERMINAL = {"run.completed": "completed", "run.failed": "failed", "run.cancelled": "cancelled"}
# What becomes of a wish; every other one is for a training that cannot succeed.
WISHED = {"finish": "completed", "cancel": "cancelled"}


@dataclass(frozen=True)
class Broken:
    """One promise that did not hold."""

    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


def verdict(case: Case) -> list[Broken]:
    """Everything that is broken; empty when every promise held. The system must be at rest."""
    return [Broken(rule.__name__, what) for rule in RULES for what in rule(case)]


def every_answer_is_its_run(case: Case) -> Iterator[str]:
    """Accepted: exactly one run, the one that was told, in every answer. Unknown: at most one. Refused: none."""
    runs = defaultdict(list)
    for run in case.evidence.runs:
        runs[run["kb_id"], _text(run["parent_run_id"])].append(str(run["id"]))
    for one in case.asked:
        found = runs.pop((one.kb_id, one.parent), [])
        allowed = {Answer.ACCEPTED: (1,), Answer.UNKNOWN: (0, 1), Answer.REFUSED: (0,)}[one.answer]
        if len(found) not in allowed:
            yield f"key {one.key} was {one.answer} and has {len(found)} runs"
        elif one.answer is Answer.ACCEPTED and one.run_ids != frozenset(found):
            yield f"key {one.key} was told {sorted(one.run_ids)} and has {found}"
    for (kb_id, parent), found in runs.items():
        yield f"nobody asked for {found} of {kb_id}, parent {parent}"


def _text(run_id: UUID | None) -> str | None:
    return None if run_id is None else str(run_id)


def every_run_ended(case: Case) -> Iterator[str]:
    for run in case.evidence.runs:
        if run["state"] not in TERMINAL.values():
            yield f"run {run['id']} is {run['state']} since {run['started_at'] or run['created_at']}"


def every_answer_is_in_the_contract(case: Case) -> Iterator[str]:
    """A line may be cut, and a service may say that it does not take it just now and when to come again: no more."""
    for one in case.asked:
        for exchange in one.exchanges:
            if not exchange.in_contract:
                yield f"key {one.key} was answered {exchange.status}, Retry-After {exchange.retry_after}"


def every_run_ended_as_it_was_asked_to(case: Case) -> Iterator[str]:
    """Nothing that happens to the system fails a run that is well, and no luck lets one succeed that is not."""
    ends = {one.kb_id: one.end for one in case.asked}
    for run in case.evidence.runs:
        wished = WISHED.get(ends.get(run["kb_id"], ""), "failed")
        if run["kb_id"] in ends and run["state"] in TERMINAL.values() and run["state"] != wished:
            yield f"run {run['id']} was asked to {ends[run['kb_id']]} and is {run['state']}: {run['error']}"


def every_journal_row_is_its_event(case: Case) -> Iterator[str]:
    """The hash is that of what is kept, and the columns say what the event says."""
    for entry in case.evidence.journal:
        try:
            event = open_envelope(entry["event"])
        except UnreadableEvent as reason:
            yield f"the row of event {entry['event_id']} holds none: {reason}"
            continue
        said = {
            "event_id": event.event_id,
            "run_id": event.run_id,
            "position": event.position,
            "type": event.type,
            "hash": event.content_hash,
        }
        for column, value in said.items():
            if entry[column] != value:
                yield f"the row of event {entry['event_id']} has the {column} {entry[column]}, its event {value}"


def nothing_was_delivered_that_nobody_sent(case: Case) -> Iterator[str]:
    """No conflict, nothing unreadable. A dead letter may come of deliveries that failed for too long, and is an event
    of the outbox then."""
    sent = {event["event_id"]: published_hash(event) for event in case.evidence.outbox}
    yield from (f"event {one['event_id']} came with other content" for one in case.evidence.conflicts)
    for one in case.evidence.misdeliveries:
        yield f"event {one['event_id']} of run {one['run_id']} was {one['outcome']} {one['count']} times"
    for letter in case.evidence.dead_letters:
        try:
            event = read_envelope(letter["body"])
        except UnreadableEvent as reason:
            yield f"a dead letter of {letter['topic']} is no event: {reason}"
            continue
        if sent.get(event.event_id) != event.content_hash:
            yield f"a dead letter of {letter['topic']} is the event {event.event_id}, and nobody sent that"


def outbox_and_journal_are_equal(case: Case) -> Iterator[str]:
    """Event ids both ways, and what each says."""
    sent = Counter(event["event_id"] for event in case.evidence.outbox)
    kept = Counter(entry["event_id"] for entry in case.evidence.journal)
    yield from (f"event {event} was never journalled" for event in sent - kept)
    yield from (f"event {event} is journalled and was never sent, or twice" for event in kept - sent)
    hashes = {entry["event_id"]: entry["hash"] for entry in case.evidence.journal}
    for event in case.evidence.outbox:
        if hashes.get(event["event_id"], published_hash(event)) != published_hash(event):
            yield f"event {event['event_id']} is journalled with other content"


def every_event_was_confirmed(case: Case) -> Iterator[str]:
    for event in case.evidence.outbox:
        if event["confirmed_at"] is None:
            yield f"event {event['event_id']} ({event['type']}) is still being published"


def positions_have_no_gap(case: Case) -> Iterator[str]:
    for run_id, entries in case.by_run(case.evidence.journal).items():
        positions = [entry["position"] for entry in entries]
        if positions != list(range(1, len(positions) + 1)) or not positions:
            yield f"run {run_id} has the positions {positions}"
    newest = {run["id"]: run["position"] for run in case.evidence.runs}
    for run_id, entries in case.by_run(case.evidence.journal).items():
        if newest.get(run_id) != len(entries):
            yield f"run {run_id} says that it has {newest.get(run_id)} events, the journal has {len(entries)}"


def attempts_only_rise(case: Case) -> Iterator[str]:
    """Each start is a new attempt, one more than the last, and every event speaks of the one that was started last."""
    newest = {run["id"]: run["attempt"] for run in case.evidence.runs}
    for run_id, entries in case.by_run(case.evidence.journal).items():
        started = 0
        for entry in entries:
            started += entry["type"] == "run.started"
            if entry["event"]["data"].get("attempt", started) != started:
                yield f"run {run_id} has {entry['type']} of attempt {entry['event']['data']['attempt']} in {started}"
        if newest.get(run_id) != started:
            yield f"run {run_id} says that it is at attempt {newest.get(run_id)}, the journal at {started}"


def each_run_ends_once_and_nothing_follows(case: Case) -> Iterator[str]:
    states = {run["id"]: run["state"] for run in case.evidence.runs}
    for run_id, entries in case.by_run(case.evidence.journal).items():
        types = [entry["type"] for entry in entries]
        ends = [one for one in types if one in TERMINAL]
        if len(ends) != 1 or types[-1] != ends[0] or types[0] != "run.requested":
            yield f"run {run_id} has the events {types}"
        elif TERMINAL[ends[0]] != states.get(run_id):
            yield f"run {run_id} is {states.get(run_id)}, its journal ends with {ends[0]}"


def the_journal_never_changed(case: Case) -> Iterator[str]:
    now = journal_rows(case.evidence)
    for event_id, row in case.earlier.items():
        if now.get(event_id) != row:
            yield f"the row of event {event_id} was {'changed' if event_id in now else 'deleted'}"


def every_completed_run_has_its_one_adapter(case: Case) -> Iterator[str]:
    """The one of its last attempt, with the hash that was recorded and told; no other attempt's lies in its place."""
    adapters = dict(case.evidence.adapters)
    ends = {entry["run_id"]: entry["event"]["data"] for entry in case.evidence.journal if entry["type"] in TERMINAL}
    for run in case.evidence.runs:
        if run["state"] != "completed":
            continue
        place = f"{run['id']}/{run['attempt']}"
        if run["files_removed_at"] is not None:  # retention: they go with the next sweep
            adapters.pop(place, None)
            continue
        if not str(run["artifact_uri"]).endswith(f"/{place}/adapter"):
            yield f"run {run['id']} shows {run['artifact_uri']}, its attempt was {run['attempt']}"
        if adapters.pop(place, None) != run["adapter_sha256"]:
            yield f"the adapter of {place} is missing or differs from what was recorded"
        told = ends.get(run["id"], {})
        if any(told.get(name) != run[name] for name in ("artifact_uri", "adapter_sha256")):
            yield f"run {run['id']} shows another adapter than its last event"
    yield from (f"the adapter {place} belongs to an attempt without a result" for place in adapters)


def every_file_of_a_result_is_as_recorded(case: Case) -> Iterator[str]:
    """Of a completed run, until retention takes them; an attempt without a result has a log at the most."""
    for run in case.evidence.runs:
        if run["files_removed_at"] is not None:
            continue
        if run["state"] == "completed" and not run["files"]:
            yield f"run {run['id']} is completed and has no files"
        for name, file in (run["files"] or {}).items():
            if case.evidence.files.get(f"{run['id']}/{run['attempt']}/{name}") != file:
                yield f"{name} of run {run['id']} is missing or differs from what was recorded"


def nothing_is_left_of_the_work_on_an_ended_run(case: Case) -> Iterator[str]:
    """No adapter on its way, no checkpoint; a cancelled run keeps its newest one for whoever asks for it."""
    states = {str(run["id"]): run["state"] for run in case.evidence.runs}
    for path in case.evidence.leavings:
        state = states.get(path.parts[0])
        if state in TERMINAL.values() and not (state == "cancelled" and path.name == "checkpoints"):
            yield f"{path} is still there, and its run is {state}"


RULES: tuple[Callable[[Case], Iterator[str]], ...] = (
    every_answer_is_its_run,
    every_answer_is_in_the_contract,
    every_run_ended,
    every_run_ended_as_it_was_asked_to,
    every_journal_row_is_its_event,
    nothing_was_delivered_that_nobody_sent,
    outbox_and_journal_are_equal,
    every_event_was_confirmed,
    positions_have_no_gap,
    attempts_only_rise,
    each_run_ends_once_and_nothing_follows,
    the_journal_never_changed,
    every_completed_run_has_its_one_adapter,
    every_file_of_a_result_is_as_recorded,
    nothing_is_left_of_the_work_on_an_ended_run,
    *dataset_rules.RULES,
)
