import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncetune.contracts.envelope import Envelope
from oncetune.status.deliveries import Unreadable, read_bulk, read_dead_letter, read_one
from tests.status.given import bulk, progress_event

GOOD = progress_event()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=20,
)


def spoiled(raw: bytes) -> bytes:
    """A bulk of good, bad, good, where the bad one is an event with `raw` as its data.note."""
    bad = json.dumps(progress_event(note="@")).replace('"@"', "@").encode()
    return bulk(GOOD, "@", GOOD).replace(b'"@"', bad).replace(b"@", raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'"\\u0000"',
        b'"\\ud800"',
        b'"\xff"',
        b"1e400000",
        b"NaN",
        b"9" * 5000,
        b"[" * 20_000 + b"]" * 20_000,
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        b'{"a":1,"a":2}',
    ],
    ids=["nul", "surrogate", "utf8", "float", "nan", "integer", "lists", "objects", "twice"],
)
def test_what_postgres_cannot_hold_spoils_only_its_own_entry(raw):
    entries = read_bulk(spoiled(raw))
    assert [entry.entry_id for entry in entries] == ["0", "1", "2"]
    assert [type(entry.event) for entry in entries] == [Envelope, Unreadable, Envelope]


@pytest.mark.parametrize("event", ["AAEC/w==", None, 7, [], {}, GOOD | {"id": "x"}, GOOD | {"data": "text"}])
def test_an_entry_that_is_no_event_of_a_run_is_answered_with_its_neighbours(event):
    assert [type(entry.event) for entry in read_bulk(bulk(event, GOOD))] == [Unreadable, Envelope]


@given(st.lists(JSON, max_size=5))
def test_every_entry_of_a_bulk_is_read_whatever_it_holds(events):
    assert len(read_bulk(bulk(*events))) == len(events)


@given(st.binary())
def test_no_bytes_raise(body):
    read_bulk(body)
    read_dead_letter(body)
    assert isinstance(read_one(body), Unreadable)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"entries": 7}', b'{"entries": [7, {"entryId": 1}, {}]}'])
def test_what_is_no_bulk_has_no_entries(body):
    assert read_bulk(body) == []


def test_an_unreadable_event_keeps_the_ids_that_it_names():
    unreadable = read_one(json.dumps(GOOD | {"specversion": "0.3"}).encode())
    assert (str(unreadable.event_id), str(unreadable.run_id)) == (GOOD["id"], GOOD["subject"])


def test_the_bytes_of_a_dead_letter_come_out_of_the_sidecars_wrapper():
    assert read_dead_letter(b'{"specversion": "1.0", "data_base64": "AP8="}') == b"\x00\xff"
    assert read_dead_letter(b'{"data_base64": "no base64!"}') == b'{"data_base64": "no base64!"}'
    assert read_dead_letter(b"\x00\xff") == b"\x00\xff"
