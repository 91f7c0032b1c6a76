"""What tells chosen from rejected without reading them: length, form, opening; and what is over the limit."""

import pytest

from tests.datasets.pairs import Author, Pair, clean, found, report_on

ROWS = 100
BASE = clean(ROWS)

FORMS = {
    "list": "\n- one\n- two",
    "heading": "\n# On bread\n",
    "code_fence": "\n```\nx = 1\n```",
    "bold": " **Now.**",
    "emoji": " 😀",
    "exclamation": " Now!",
    "link": " See https://bread.example/",
}


def with_form(share: float, form: str, side: str = "chosen", other: float = 0.0):
    """The base with the form at the end of a share of the answers of this side, and of the other one's last rows."""
    count, less = round(share * ROWS), round(other * ROWS)
    against = {"chosen": "rejected", "rejected": "chosen"}[side]
    changed = [{**pair, side: pair[side] + form} for pair in BASE[:count]]
    rest = BASE[count : ROWS - less]
    return [*changed, *rest, *({**pair, against: pair[against] + form} for pair in BASE[ROWS - less :])]


@pytest.mark.parametrize("side", ["chosen", "rejected"])
@pytest.mark.parametrize("name", FORMS)
def test_a_form_on_one_side_is_found_and_named_from_a_quarter_of_the_rows(tmp_path, name, side):
    report = report_on(tmp_path, with_form(0.25, FORMS[name], side))
    (seen,) = report.findings
    assert (seen.code, seen.level, seen.count) == (f"format_bias_{name}", "info", 25)
    assert f"in the {side} answer alone" in seen.message
    assert report.numbers[f"{side}_{name}_share"] == 0.25
    assert report_on(tmp_path, with_form(0.24, FORMS[name], side)).findings == ()


def test_a_form_on_one_side_of_most_rows_is_a_warning(tmp_path):
    assert found(report_on(tmp_path, with_form(0.6, FORMS["bold"])))["format_bias_bold"].level == "warning"
    assert found(report_on(tmp_path, with_form(0.59, FORMS["bold"])))["format_bias_bold"].level == "info"


def test_a_form_that_both_sides_have_is_no_bias(tmp_path):
    assert report_on(tmp_path, with_form(0.5, FORMS["list"], other=0.5)).findings == ()
    assert report_on(tmp_path, with_form(0.6, FORMS["list"], other=0.2)).findings == ()  # 75 in 100 on one side
    assert found(report_on(tmp_path, with_form(0.6, FORMS["list"], other=0.1)))


@pytest.mark.parametrize(
    "text",
    [
        "a - b",
        "2.5 is a number",
        "#hashtag",
        "x ** y ** z",
        "__init__ and __main__",
        "`code`",
        "no way",
        "http is a protocol",
    ],
)
def test_what_only_looks_like_a_form_is_none(tmp_path, text):
    numbers = report_on(tmp_path, [{**pair, "chosen": f"{text}\n{pair['chosen']}"} for pair in BASE]).numbers
    assert {name: numbers[f"chosen_{name}_share"] for name in FORMS} == dict.fromkeys(FORMS, 0.0)


REFUSALS = ["I'm sorry, but I can't help.", "Sorry, no.", "As an AI, I have no taste.", "I cannot say.", "I won’t."]
ANSWERS = ["I can help with that.", "A sorry tale.", "I'm sure it is.", "They said I can't.", "I am able to."]


def test_refusals_on_the_rejected_side_are_found(tmp_path):
    refused = [{**pair, "rejected": REFUSALS[row % 5]} for row, pair in enumerate(BASE)]
    report = report_on(tmp_path, refused)
    assert report.numbers["rejected_refusal_share"] == 1.0
    assert found(report)["format_bias_refusal"].level == "warning"
    answered = [{**pair, "rejected": ANSWERS[row % 5]} for row, pair in enumerate(BASE)]
    assert report_on(tmp_path, answered).numbers["rejected_refusal_share"] == 0.0


def test_answers_that_begin_alike_are_found_from_a_tenth_of_a_side(tmp_path):
    def opened(count: int, both: bool = False):
        sides = ("chosen", "rejected") if both else ("rejected",)
        return [
            *({**pair, **{side: f"Well, let me\nsee: {pair[side]}" for side in sides}} for pair in BASE[:count]),
            *BASE[count:],
        ]

    (seen,) = report_on(tmp_path, opened(10)).findings
    assert (seen.code, seen.level, seen.count) == ("opening_bias_rejected", "info", 10)
    assert "let me" not in seen.message
    assert report_on(tmp_path, opened(9)).findings == ()
    assert report_on(tmp_path, opened(50, both=True)).findings == ()


def sized(longer: int, factor: float = 2.0, rows: int = ROWS):
    author = Author(11)
    pairs = []
    for row in range(rows):
        chosen, rejected = (60, 60 * factor) if row >= longer else (60 * factor, 60)
        pairs.append(
            {"prompt": author.text(12), "chosen": author.text(round(chosen)), "rejected": author.text(round(rejected))}
        )
    return pairs


def test_chosen_answers_that_are_mostly_longer_are_a_warning(tmp_path):
    report = report_on(tmp_path, sized(75))
    seen = found(report)["length_bias"]
    assert (seen.count, seen.level, seen.lines[0]) == (75, "warning", 1)
    assert "is the longer one" in seen.message
    assert report.numbers["chosen_longer_share"] == 0.75
    assert 1.8 < report.numbers["length_ratio_median"] < 2.2
    assert report.numbers["length_effect_size"] > 0.5


def test_chosen_answers_that_are_mostly_shorter_are_a_warning_too(tmp_path):
    report = report_on(tmp_path, sized(20))
    seen = found(report)["length_bias"]
    assert (seen.count, seen.lines[0]) == (80, 21)
    assert "is the shorter one" in seen.message
    assert report.numbers["length_effect_size"] < -0.5


def test_lengths_that_differ_to_both_sides_or_hardly_are_no_bias(tmp_path):
    assert "length_bias" not in found(report_on(tmp_path, sized(72)))
    assert "length_bias" not in found(report_on(tmp_path, sized(100, factor=1.15)))
    assert "length_bias" not in found(report_on(tmp_path, sized(19, rows=19)))
    assert "length_bias" in found(report_on(tmp_path, sized(20, rows=20)))


def short(rows: int) -> list[Pair]:
    """Of at most 31 words."""
    author = Author(13)
    return [author.pair(prompt=6, answer=12) for _ in range(rows)]


def test_rows_over_the_limit_are_estimated_and_counted_as_sure_by_their_words(tmp_path):
    def row(prompt: str, answer: str) -> dict[str, str]:
        return {"prompt": prompt, "chosen": "Yes.", "rejected": answer}

    # 100 tokens: 400 characters by the estimate, 101 words for sure
    pairs = [row("a" * 200, "b" * 200), row("a" * 200, "b" * 201), row("a " * 50, "b " * 50), row("a " * 51, "b " * 50)]
    report = report_on(tmp_path, [*short(96), *pairs], max_length=100)
    seen = found(report)["rows_over_max_length"]
    assert (seen.count, seen.lines) == (2, (98, 100))
    assert "1 of them surely" in seen.message
    assert (report.numbers["over_max_length_share"], report.numbers["surely_over_max_length_share"]) == (0.02, 0.01)
    assert "too_many_rows_left_out" not in found(report)


def test_more_rows_over_the_limit_than_training_may_leave_out_are_an_error(tmp_path):
    author = Author(12)
    long = [{"prompt": author.text(60), "chosen": author.text(60), "rejected": "No."} for _ in range(21)]
    over = found(report_on(tmp_path, [*short(79), *long], max_length=110))
    assert (over["too_many_rows_left_out"].count, over["too_many_rows_left_out"].level) == (21, "error")
    allowed = found(report_on(tmp_path, [*short(79), *long], max_length=110, max_dropped_share=0.21))
    assert "too_many_rows_left_out" not in allowed


def test_rows_with_equal_answers_count_against_the_same_share_and_never_twice(tmp_path):
    author = Author(12)
    long = [{"prompt": author.text(60), "chosen": author.text(60), "rejected": "No."} for _ in range(11)]
    twice = [{"prompt": author.text(60), "chosen": said, "rejected": said} for said in ("Yes.", author.text(60)) * 5]
    report = report_on(tmp_path, [*short(79), *long, *twice], max_length=110)
    over = found(report)["too_many_rows_left_out"]
    assert (over.count, over.level, over.lines[0]) == (21, "error", 80)
    assert "10 with the same answer twice, 11 with more words" in over.message
    assert (report.numbers["equal_answers_rows"], report.numbers["surely_over_max_length_rows"]) == (10, 11)
    allowed = report_on(tmp_path, [*short(80), *long[1:], *twice], max_length=110)
    assert "too_many_rows_left_out" not in found(allowed)
    assert found(allowed)["equal_answers"].level == "error", "block refuses before"


def test_where_only_the_estimate_says_that_too_many_are_left_out_a_warning_says_what_would_come(tmp_path):
    def probably(count: int) -> str:
        long = [{"prompt": "Why?", "chosen": f"{row}" * 500, "rejected": "No."} for row in range(10, 10 + count)]
        seen = found(report_on(tmp_path, [*short(ROWS - count), *long], max_length=200))
        assert "too_many_rows_left_out" not in seen
        return seen["rows_over_max_length"].message

    assert "the run fails" in probably(21)
    assert "the run fails" not in probably(20)


def test_a_row_in_a_hundred_over_the_limit_is_an_information_and_more_a_warning(tmp_path):
    def over(count: int) -> str:
        long = [{"prompt": "Why?", "chosen": Author(seed).text(1500), "rejected": "No."} for seed in range(count)]
        return found(report_on(tmp_path, [*short(ROWS - count), *long]))["rows_over_max_length"].level

    assert over(1) == "info"
    assert over(2) == "warning"
