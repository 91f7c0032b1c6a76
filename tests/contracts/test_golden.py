"""Events that were published once: each later version reads and writes them the same.

`golden/<type>[.<what is special>].json` is a whole event as the ledger and the relay wrote it,
`golden/content_hashes.txt` what the journal keeps of each. They are never edited; a new field of an event comes as a
new file beside the old one.
"""

import json
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest

from oncetune.contracts.envelope import UnreadableEvent, open_envelope, read_envelope, read_event, write_envelope
from oncetune.contracts.events import RunEvent

FOLDER = Path(__file__).parent / "golden"
GOLDEN = sorted(FOLDER.glob("*.json"))
HASHES = {name: digest for digest, name in map(str.split, (FOLDER / "content_hashes.txt").read_text().splitlines())}
COMMON = ("run_id", "position", "occurred_at")
OPTIONAL = {
    "run.requested": {"dataset_sha256", "dataset_rows", "dataset_url", "parent_run_id"},
    "run.progress": {"loss", "reward_margin", "reward_accuracy", "resumed_from_step"},
}


def _plain(value):
    """As the event's document spells it."""
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def test_every_kind_of_event_has_its_golden_file_and_every_file_its_hash():
    kinds = {kind.model_fields["type"].default for kind in RunEvent.__args__}
    assert {json.loads(path.read_text())["type"] for path in GOLDEN} == kinds
    assert {path.stem for path in GOLDEN} == set(HASHES)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_an_event_once_published_still_reads_as_it_was_meant(path):
    event = read_event(read_envelope(path.read_bytes()))
    document = json.loads(path.read_text())
    told = set(document["data"])  # a field that came later is None in what was published before
    read = {name: _plain(value) for name, value in event.model_dump().items() if value is not None or name in told}
    assert read == {**document["data"], "event_id": document["id"], "type": document["type"]}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_an_event_once_published_is_still_written_the_same(path):
    published = json.loads(path.read_text())
    data = published["data"]
    written = write_envelope(
        event_id=UUID(published["id"]),
        run_id=UUID(published["subject"]),
        position=data["position"],
        type=published["type"],
        source=published["source"],
        occurred_at=datetime.fromisoformat(published["time"]),
        payload={name: value for name, value in data.items() if name not in COMMON},
        traceparent=published.get("origintraceparent"),
    )
    assert written == published


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_an_event_once_journalled_is_still_recognised(path):
    assert read_envelope(path.read_bytes()).content_hash == HASHES[path.stem]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_reader_ignores_what_a_later_writer_adds(path):
    document = json.loads(path.read_text())
    event = read_event(open_envelope(document))
    later = {**document, "newattribute": "x", "data": {**document["data"], "new_field": {"deep": [1]}}}
    assert read_event(open_envelope(later)) == event


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_an_event_without_one_of_its_fields_is_readable_for_the_journal_and_for_nobody_else(path):
    document = json.loads(path.read_text())
    for field in set(document["data"]) - OPTIONAL.get(document["type"], set()) - {"position"}:
        less = {**document, "data": {name: value for name, value in document["data"].items() if name != field}}
        envelope = open_envelope(less)
        with pytest.raises(UnreadableEvent, match=f"{document['type']}: 1 fields do not fit"):
            read_event(envelope)
