"""What makes an event itself, and what the road may change about it."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncetune.contracts.envelope import UnreadableEvent, content_hash, open_envelope, read_envelope, read_event
from tests.contracts.json_values import JSON, TEXT

GOLDEN = json.loads((Path(__file__).parent / "golden" / "run.completed.json").read_text())
QUICK = settings(max_examples=200)


def _with_metrics(metrics):
    return {**GOLDEN, "data": {**GOLDEN["data"], "metrics": metrics}}


def _rewritten(value):
    """As a sidecar written in Go spells it: keys in another order, 1.0 as 1."""
    if isinstance(value, dict):
        return {name: _rewritten(value[name]) for name in reversed(value)}
    if isinstance(value, list):
        return [_rewritten(member) for member in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@QUICK
@given(metrics=JSON, trace=TEXT, attributes=st.dictionaries(st.sampled_from(["expiration", "time", "etag"]), TEXT))
def test_whatever_the_road_rewrites_an_event_keeps_its_hash(metrics, trace, attributes):
    sent = _with_metrics(metrics)
    road = {
        "topic": "run.lifecycle",
        "pubsubname": "oncetune",
        "traceparent": trace,
        "traceid": trace,
        "tracestate": "",
    }
    arrived = json.loads(json.dumps({**_rewritten(sent), **road, **attributes}))
    assert content_hash(arrived) == content_hash(sent)


@QUICK
@given(text=TEXT)
def test_another_id_source_type_or_subject_is_another_event(text):
    for name in ("id", "source", "type", "subject"):
        if text != GOLDEN[name]:
            assert content_hash({**GOLDEN, name: text}) != content_hash(GOLDEN)


def _changes(value):
    """Every document in which one value, key or length differs from `value`."""
    yield [value]
    yield {"value": value}
    if isinstance(value, bool):
        yield int(value)
    if value is None or isinstance(value, bool):
        yield not value
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield from (str(value), value + 1 if abs(value) < 2**50 else 0)
    if isinstance(value, str):
        yield value + " "
    if isinstance(value, list):
        yield [*value, None]
        for index, member in enumerate(value):
            yield from ([*value[:index], changed, *value[index + 1 :]] for changed in _changes(member))
    if isinstance(value, dict):
        free = "".join(value) + "x"
        yield {**value, free: None}
        for name, member in value.items():
            rest = {other: kept for other, kept in value.items() if other != name}
            yield from (rest, {**rest, free: member})
            yield from ({**rest, name: changed} for changed in _changes(member))


@QUICK
@given(metrics=JSON)
def test_any_change_of_the_data_is_another_event(metrics):
    sent = content_hash(_with_metrics(metrics))
    for changed in _changes(metrics):
        assert content_hash(_with_metrics(changed)) != sent, changed
    assert content_hash({**GOLDEN, "data": {**GOLDEN["data"], "position": 7}}) != content_hash(GOLDEN)


def _without(name):
    return {other: value for other, value in GOLDEN.items() if other != name}


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ([], "the event is not a JSON object"),
        ({}, "specversion is not 1.0"),
        ({**GOLDEN, "specversion": "0.3"}, "specversion is not 1.0"),
        (_without("source"), "source is missing"),
        ({**GOLDEN, "source": ""}, "source is missing"),
        ({**GOLDEN, "type": 5}, "type is missing"),
        (_without("id"), "id is not a UUID"),
        ({**GOLDEN, "id": "7"}, "id is not a UUID"),
        ({**GOLDEN, "subject": None}, "subject is not a UUID"),
        (_without("data"), "data.position is not a whole number from 1"),
        ({**GOLDEN, "data": "text"}, "data.position is not a whole number from 1"),
        *(
            ({**GOLDEN, "data": {"position": position}}, "data.position is not a whole number from 1")
            for position in (0, -1, 2**31, 1.5, True, "1", None)
        ),
    ],
)
def test_what_names_no_event_of_a_run_is_refused_with_a_sentence(document, sentence):
    with pytest.raises(UnreadableEvent) as refusal:
        open_envelope(document)
    assert str(refusal.value) == sentence


def test_bytes_that_are_no_json_are_refused_as_an_event():
    with pytest.raises(UnreadableEvent, match="not UTF-8 at byte 0"):
        read_envelope(b"\xff")


def test_an_event_of_an_unknown_type_can_be_journalled_but_not_understood():
    later = {**deepcopy(GOLDEN), "type": "run.paused"}
    envelope = open_envelope(later)
    assert (envelope.type, envelope.position, envelope.document) == ("run.paused", GOLDEN["data"]["position"], later)
    with pytest.raises(UnreadableEvent, match=r"^run\.paused: "):
        read_event(envelope)
