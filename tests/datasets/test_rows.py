"""Rows from outside: what is good is kept word for word, and the first bad one is named."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncetune.contracts.preferences import PreferencePair
from oncetune.datasets.refusal import BadRow
from oncetune.datasets.rows import FIELDS, validate_rows
from tests.contracts.json_values import JSON

GOOD = {"prompt": "What is 1 + 1?", "chosen": "Two.", "rejected": "Three."}
ASK = {"role": "user", "content": "What is 1 + 1?"}
TELL = {"role": "assistant", "content": "Two."}
EMPTY = "{} is empty; give a non-empty text or a list of messages"
NEITHER = "{} is not a text or a list of messages"
NO_MESSAGE = "{}[0] is not an object with exactly role and content"
ROLE = "{}[1].role: Input should be 'system', 'user', 'assistant' or 'tool'"
CONTENT = "{}[0].content: Input should be a valid string"

WRONG_VALUES = [
    (None, EMPTY),
    ("", EMPTY),
    (" \n\t", EMPTY),
    ([], EMPTY),
    (5, NEITHER),
    (0.5, NEITHER),
    (False, NEITHER),
    ({"role": "user", "content": "x"}, NEITHER),
    ([None], NO_MESSAGE),
    (["text"], NO_MESSAGE),
    ([[ASK]], NO_MESSAGE),
    ([{"role": "user"}], NO_MESSAGE),
    ([{"content": "x"}], NO_MESSAGE),
    ([{**ASK, "name": "Bob"}], NO_MESSAGE),
    ([{**ASK, "content": ""}], "{}[0].content is empty"),
    ([{**ASK, "content": "  "}], "{}[0].content is empty"),
    ([{**ASK, "content": None}], CONTENT),
    ([{**ASK, "content": 7}], CONTENT),
    ([{**ASK, "content": [{"type": "text", "text": "x"}]}], CONTENT),
    ([ASK, {**TELL, "role": "robot"}], ROLE),
    ([ASK, {**TELL, "role": None}], ROLE),
    ([ASK, {**TELL, "role": ["user"]}], ROLE),
]
WRONG_ROWS = [
    (7, "not an object with prompt, chosen and rejected"),
    (None, "not an object with prompt, chosen and rejected"),
    ([GOOD], "not an object with prompt, chosen and rejected"),
    ({}, "prompt is missing"),
    ({"prompt": "x", "rejected": "y"}, "chosen is missing"),
    ({**GOOD, "score": 1, "extra": 2}, "extra is not a field of a row; use prompt, chosen and rejected"),
]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(("value", "sentence"), WRONG_VALUES, ids=lambda value: repr(value)[:40])
def test_a_wrong_field_is_named_with_its_row(field, value, sentence):
    with pytest.raises(BadRow) as refusal:
        list(validate_rows([GOOD, {**GOOD, field: value}, GOOD]))
    assert str(refusal.value) == "dataset_inline[1]: " + sentence.format(field)


@pytest.mark.parametrize(("row", "sentence"), WRONG_ROWS, ids=lambda value: repr(value)[:40])
def test_a_row_of_another_shape_is_named(row, sentence):
    with pytest.raises(BadRow) as refusal:
        list(validate_rows([GOOD, GOOD, row]))
    assert str(refusal.value) == f"dataset_inline[2]: {sentence}"


def test_the_first_of_several_wrong_rows_is_named():
    with pytest.raises(BadRow, match=r"^dataset_inline\[1\]: chosen is empty"):
        list(validate_rows([GOOD, {**GOOD, "chosen": ""}, 7]))


@pytest.mark.parametrize("rows", [None, {}, GOOD, "rows", 5, True])
def test_what_is_no_array_is_named_by_where_it_stood(rows):
    with pytest.raises(BadRow, match=r"^rows\.jsonl is not an array of rows$"):
        list(validate_rows(rows, where="rows.jsonl"))


def test_no_rows_at_all_are_refused():
    with pytest.raises(BadRow, match=r"^dataset_inline has no rows"):
        list(validate_rows([]))


def test_texts_and_conversations_are_kept_word_for_word_also_mixed():
    system = {"role": "system", "content": " Be brief.\n"}
    rows = [
        GOOD,
        {"prompt": [system, ASK], "chosen": [TELL], "rejected": [{**TELL, "content": "Three.  "}]},
        {"prompt": [ASK, TELL, ASK, {"role": "tool", "content": "2"}], "chosen": [TELL], "rejected": "Three."},
    ]
    pairs = list(validate_rows(rows))
    assert [pair.model_dump(mode="json") for pair in pairs] == rows


@settings(max_examples=300)
@given(row=st.fixed_dictionaries(dict.fromkeys(FIELDS, st.text(max_size=3) | st.lists(JSON, max_size=2) | JSON)))
def test_whatever_comes_is_either_a_pair_or_named(row):
    try:
        [pair] = validate_rows([row])
    except BadRow as refusal:
        named = str(refusal)
        assert named.startswith(tuple(f"dataset_inline[0]: {field}" for field in FIELDS))
    else:
        assert isinstance(pair, PreferencePair)
        assert pair.model_dump(mode="json") == row
