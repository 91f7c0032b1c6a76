"""Rows of several formats: told by what they hold, the same at every door, and never guessed at."""

import contextlib
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncetune.datasets.refusal import BadRow
from oncetune.datasets.rows import validate_rows
from oncetune.datasets.survey import Survey
from tests.contracts.json_values import JSON
from tests.datasets.given import (
    MESSAGES,
    OLDER_OPENAI,
    OPENAI,
    PROMPT_TOO,
    SYSTEM,
    TEXT,
    THREE,
    TWO,
    ULTRAFEEDBACK,
    USER,
    WHOLE,
    array,
    jsonl,
    only,
    read,
    turn,
)

ASKED = "\n\nHuman: What is 1 + 1?\n\nAssistant:"
NO_TURNS = (
    "there is no prompt, and chosen and rejected do not begin with the same turns before an answer of the assistant"
)
EMPTY = "is empty after the words that it shares with the other answer; give a prompt"
NO_WORDS = "there is no prompt, and chosen and rejected do not begin with the same words; give a prompt"


@pytest.mark.parametrize(
    ("row", "format_"),
    [(MESSAGES, "messages"), (OPENAI, "openai"), (OLDER_OPENAI, "openai")]
    + [(row, "shared_prefix") for row in (WHOLE, ULTRAFEEDBACK, PROMPT_TOO)],
    ids=["messages", "openai", "older openai", "whole", "ultrafeedback", "prompt too"],
)
def test_a_conversation_is_the_same_pair_in_every_format(row, format_):
    assert only(row) == (MESSAGES, format_)


REFUSED = [
    ({**OPENAI, "input": None}, "input is not an object with messages"),
    ({**OPENAI, "input": [USER]}, "input is not an object with messages"),
    ({**OPENAI, "input": {}}, "input.messages is missing"),
    ({**OPENAI, "input": {"messages": [USER], "prompt": "x"}}, "input.prompt is not a field of input; use messages"),
    (
        {**OPENAI, "input": {"messages": [USER], "tools": [{"type": "function"}]}},
        "input.tools: tools cannot be trained on; leave such rows out",
    ),
    (
        {**OPENAI, "input": {"messages": [USER], "parallel_tool_calls": {}}},
        "input.parallel_tool_calls is neither true nor false",
    ),
    ({**OPENAI, "input": {"messages": []}}, "input.messages is empty; give a non-empty text or a list of messages"),
    ({**OPENAI, "input": {"messages": "What?"}}, "input.messages is not a list of messages"),
    ({**OPENAI, "input": {"messages": [USER, 5]}}, "input.messages[1] is not an object with exactly role and content"),
    (
        {**OPENAI, "preferred_output": [{**TWO, "tool_calls": [{}]}]},
        "preferred_output[0].tool_calls: calls of tools cannot be trained on; leave such rows out",
    ),
    (
        {**OPENAI, "preferred_output": [{"role": "assistant", "content": None, "function_call": {}}]},
        "preferred_output[0].function_call: calls of tools cannot be trained on; leave such rows out",
    ),
    (
        {**OPENAI, "preferred_output": [{**TWO, "name": "Bob"}]},
        "preferred_output[0] is not an object with exactly role and content",
    ),
    (
        {**OPENAI, "preferred_output": [{**TWO, "content": [{"type": "text", "text": "Two."}]}]},
        "preferred_output[0].content: Input should be a valid string",
    ),
    (
        {**OPENAI, "non_preferred_output": [turn("function", "x")]},
        "non_preferred_output[0].role: Input should be 'system', 'user', 'assistant' or 'tool'",
    ),
    (
        {**OPENAI, "non_preferred_output": []},
        "non_preferred_output is empty; give a non-empty text or a list of messages",
    ),
    ({"input": OPENAI["input"], "preferred_output": [TWO]}, "non_preferred_output is missing"),
    ({"preferred_output": [TWO], "non_preferred_output": [THREE]}, "input is missing"),
    ({"input": OPENAI["input"], "non_preferred_completion": [TWO]}, "preferred_output is missing"),
    ({"chosen": "Yes.", "rejected": "No."}, NO_WORDS),
    ({"chosen": "Same.", "rejected": "Same."}, "chosen " + EMPTY),
    ({"chosen": "Say A loud", "rejected": "Say A"}, "rejected " + EMPTY),
    ({"chosen": "Yes, two.", "rejected": "Yeah, two."}, NO_WORDS),
    ({"chosen": f"{ASKED} ", "rejected": f"{ASKED} Yes"}, "chosen " + EMPTY),
    ({"chosen": f"{ASKED} Yes", "rejected": ASKED}, "rejected " + EMPTY),
    ({"chosen": [TWO], "rejected": [THREE]}, f"{NO_TURNS}; give a prompt"),
    ({"chosen": [SYSTEM, USER, TWO], "rejected": [SYSTEM, turn("user", "What?"), TWO]}, f"{NO_TURNS}; give a prompt"),
    (
        {"chosen": [USER, TWO], "rejected": "Three."},
        "there is no prompt, and only one of chosen and rejected is a list of messages; give a prompt",
    ),
    ({"chosen": "", "rejected": "x"}, "chosen is empty; give a non-empty text or a list of messages"),
]


@pytest.mark.parametrize(("row", "sentence"), REFUSED, ids=[sentence[:40] for _, sentence in REFUSED])
def test_what_cannot_be_represented_is_refused_with_its_row_and_field_at_every_door(row, sentence):
    doors = {
        "dataset_inline[1]": validate_rows,
        "line 2": lambda rows: read(jsonl(rows)),
        "row 2": lambda rows: read(array(rows)),
    }
    for place, door in doors.items():
        with pytest.raises(BadRow) as refusal:
            list(door([TEXT, row]))
        assert str(refusal.value) == f"{place}: {sentence}"
        assert refusal.value.code == "invalid_dataset"


@pytest.mark.parametrize(
    ("row", "missing", "meant"),
    [
        ({"promt": "a b", "chosen": "a b c", "rejected": "a b d"}, "prompt", "promt"),
        ({"Prompt": "a b", "chosen": "a b c", "rejected": "a b d"}, "prompt", "Prompt"),
        ({"question": "a b", "chosen": "a b c", "rejected": "a b d"}, "prompt", "question"),
        ({"prompt": "a", "chosn": "a b c", "rejected": "a b d"}, "chosen", "chosn"),
        ({"prompt": "a", "chosen": "a b c", "reject": "a b d"}, "rejected", "reject"),
    ],
)
def test_a_misspelt_field_of_a_file_is_named_and_never_passed_over(row, missing, meant):
    with pytest.raises(BadRow) as refusal:
        read(jsonl([row]))
    assert str(refusal.value) == f"line 1: {missing} is missing; if {meant} is meant, call it {missing}"


def test_columns_of_a_file_that_are_no_fields_are_counted_and_told():
    survey = Survey()
    extra = {"score_chosen": 9.5, "messages": [USER, TWO], "prompt_id": "a", "source": None}
    pairs = read(jsonl([TEXT | extra, WHOLE | {"prompt_id": "b"}, OPENAI | {"metadata": {}}]), survey)
    assert [pair.model_dump(mode="json") for pair in pairs] == [TEXT, MESSAGES, MESSAGES]
    assert survey.format == "mixed"
    assert survey.left_out == {"prompt_id": 2, "score_chosen": 1, "messages": 1, "source": 1, "metadata": 1}
    once = [f"{name} (1 row)" for name in ("score_chosen", "messages", "source", "metadata")]
    assert survey.notes() == (
        "Rows of several formats: text (1 row), shared_prefix (1 row), openai (1 row).",
        "The prompt is what chosen and rejected begin with: 1 row.",
        f"Columns that are not trained on were left out: prompt_id (2 rows), {', '.join(once)}.",
    )


def test_a_row_with_names_of_its_own_for_ever_takes_no_memory_for_ever():
    survey = Survey()
    read(jsonl(TEXT | {f"column {number}": 0} for number in range(500)), survey)
    assert len(survey.left_out) <= 65
    assert survey.left_out.total() == 500
    assert survey.notes()[0].endswith("more.") and "others (436 rows)" in survey.notes()[0]


def test_the_long_names_of_columns_are_not_kept():
    tracemalloc.start()
    try:
        for number in range(8):
            read(jsonl([WHOLE | {f"{number}" + "a" * 900_000: 0}]))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2**20


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (
            OPENAI | {"metadata": {}},
            "metadata is not a field of a row; use input, preferred_output and non_preferred_output",
        ),
        (WHOLE | {"score": 1}, "score is not a field of a row; use prompt, chosen and rejected"),
        (
            TEXT | {"preferred_output": [TWO]},
            "preferred_output is not a field of a row; use prompt, chosen and rejected",
        ),
    ],
)
def test_inline_every_unknown_name_is_refused(row, sentence):
    with pytest.raises(BadRow) as refusal:
        list(validate_rows([row]))
    assert str(refusal.value) == f"dataset_inline[0]: {sentence}"


NAMES = ["prompt", "chosen", "rejected", "input", "preferred_output", "non_preferred_output", "question", "other"]
TURNS = st.lists(st.sampled_from([USER, SYSTEM, TWO, THREE, {"role": "user"}, "x"]), max_size=4)
VALUES = st.text("ab \n", max_size=6) | TURNS | st.fixed_dictionaries({"messages": TURNS}) | JSON


@settings(max_examples=400)
@given(row=st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=2, max_size=4))
def test_whatever_a_file_holds_is_either_a_whole_pair_or_named(row):
    try:
        [pair] = read(jsonl([row]))
    except BadRow as refusal:
        named = str(refusal)
        assert named.startswith("line 1: ")
    else:
        for said in (pair.prompt, pair.chosen, pair.rejected):
            assert said and (not isinstance(said, str) or said.strip())
        if "prompt" not in row and isinstance(row.get("chosen"), str):
            assert (pair.prompt + pair.chosen, pair.prompt + pair.rejected) == (row["chosen"], row["rejected"])


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": " " * 400_000 + "a b", "rejected": " " * 400_000 + "a c"},
        {"chosen": "x" * 400_000 + " b", "rejected": "x" * 400_000 + "c"},
        {"prompt": " " * 300_000 + "a", "chosen": [USER] * 9000, "rejected": [USER] * 9000},
        {f"{number:x}": 0 for number in range(60_000)} | {"chosen": "a b", "rejected": "a c"},
    ],
    ids=["blanks", "one word", "turns", "names"],
)
def test_no_row_of_1_mib_takes_long_to_be_judged(row):
    began = time.process_time()
    with contextlib.suppress(BadRow):
        read(jsonl([row]))
    assert time.process_time() - began < 2
