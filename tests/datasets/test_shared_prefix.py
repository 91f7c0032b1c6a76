"""The prompt of a row that has none: what chosen and rejected both begin with."""

import pytest

from tests.datasets.given import (
    SYSTEM,
    TEXT,
    THREE,
    TWO,
    USER,
    WHOLE,
    only,
    turn,
)

ASKED = "\n\nHuman: What is 1 + 1?\n\nAssistant:"
HH = {"chosen": f"{ASKED} Yes, two.", "rejected": f"{ASKED} Yes, three."}


@pytest.mark.parametrize(
    ("row", "prompt", "chosen", "rejected"),
    [
        (HH, ASKED, " Yes, two.", " Yes, three."),
        (
            {"chosen": f"{HH['chosen']}{ASKED} A", "rejected": f"{HH['chosen']}{ASKED} B"},
            HH["chosen"] + ASKED,
            " A",
            " B",
        ),
        ({"chosen": f"{ASKED} Same.", "rejected": f"{ASKED} Same."}, ASKED, " Same.", " Same."),
        ({"chosen": "Q: 1 + 1?\nA: two", "rejected": "Q: 1 + 1?\nA: three"}, "Q: 1 + 1?\nA:", " two", " three"),
        ({"chosen": "Q: 1 + 1?\nA: two", "rejected": "Q: 1 + 1?\nA: 3"}, "Q: 1 + 1?\nA:", " two", " 3"),
        ({"chosen": "Count: one two", "rejected": "Count: one\nthree"}, "Count: one", " two", "\nthree"),
        ({"chosen": "One  twofold", "rejected": "One  twosome"}, "One", "  twofold", "  twosome"),
    ],
    ids=["hh-rlhf", "two turns", "equal answers", "newline", "a shared blank", "other blanks", "within a word"],
)
def test_the_prompt_of_two_texts_is_what_they_share_up_to_a_sensible_border(row, prompt, chosen, rejected):
    assert only(row) == ({"prompt": prompt, "chosen": chosen, "rejected": rejected}, "shared_prefix")


@pytest.mark.parametrize(
    ("chosen", "rejected", "turns"),
    [
        ([USER, TWO], [USER, TWO], 1),
        ([USER, TWO, USER, THREE], [USER, TWO, USER, TWO], 3),
        ([USER, TWO], [USER, TWO, USER, TWO], 1),
        ([USER, TWO, turn("user", "And 2?"), TWO], [USER, TWO, turn("user", "And 3?"), TWO], 1),
        ([SYSTEM, USER, TWO, TWO], [SYSTEM, USER, TWO, THREE], 3),
    ],
    ids=["equal", "three turns", "one within the other", "they part at a question", "a second answer"],
)
def test_the_prompt_of_two_conversations_is_the_turns_before_the_answers_that_differ(chosen, rejected, turns):
    wanted = {"prompt": chosen[:turns], "chosen": chosen[turns:], "rejected": rejected[turns:]}
    assert only({"chosen": chosen, "rejected": rejected}) == (wanted, "shared_prefix")


@pytest.mark.parametrize(
    "row",
    [
        TEXT,
        {**TEXT, "chosen": "What is 1 + 1? Two."},
        {**TEXT, "chosen": [TWO]},
        {"prompt": "What is 2 + 2?", **WHOLE},
        {"prompt": [USER], **WHOLE},
        {"prompt": [USER], "chosen": [USER, TWO], "rejected": [THREE]},
    ],
    ids=["text", "a text that repeats its question", "mixed", "another question", "another beginning", "only one"],
)
def test_a_prompt_that_the_conversations_do_not_both_begin_with_stays_as_it_is(row):
    pair, format_ = only(row)
    assert (pair, format_) == (row, "text" if all(isinstance(said, str) for said in row.values()) else "messages")
