"""The same again, nearly the same, and the opposite; and the same on both sides of the split."""

import random
from array import array

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oncetune.contracts.split import held_out_prompts, prompt_key
from oncetune.datasets.quality.neighbours import _groups
from oncetune.datasets.quality.signature import SLOTS, part, similarity, words
from tests.datasets.pairs import Author, clean, found, report_on

BASE = clean(100)
PAIR = BASE[0]
SWAPPED = {**PAIR, "chosen": PAIR["rejected"], "rejected": PAIR["chosen"]}


def test_copies_of_a_row_are_counted_without_the_first(tmp_path):
    report = report_on(tmp_path, [*BASE, PAIR, BASE[3], PAIR])
    seen = found(report)["duplicate_rows"]
    assert (seen.count, seen.lines, seen.level) == (3, (101, 102, 103), "warning")
    assert report.numbers["distinct_rows"] == 100
    assert set(found(report)) == {"duplicate_rows"}  # and no near duplicate, no duplicate prompt


@pytest.mark.parametrize(("copies", "level"), [(100, "warning"), (101, "error")])
def test_a_set_of_which_more_than_half_are_copies_is_an_error(tmp_path, copies, level):
    assert found(report_on(tmp_path, [*BASE, *[PAIR] * copies]))["duplicate_rows"].level == level


def test_rows_that_swap_chosen_and_rejected_contradict_each_other(tmp_path):
    findings = found(report_on(tmp_path, [*BASE, SWAPPED]))
    assert set(findings) == {"contradictory_pairs", "duplicate_prompts"}  # and not nearly the same as each other
    seen = findings["contradictory_pairs"]
    assert (seen.count, seen.lines, seen.level) == (2, (1, 101), "error")


def test_one_contradiction_among_many_rows_is_a_difference_of_opinion(tmp_path):
    assert found(report_on(tmp_path, [*clean(199), SWAPPED]))["contradictory_pairs"].level == "warning"
    assert found(report_on(tmp_path, [*clean(198), SWAPPED]))["contradictory_pairs"].level == "error"


def test_the_same_answers_to_another_prompt_or_in_the_same_order_contradict_nothing(tmp_path):
    other = {**SWAPPED, "prompt": "Another question altogether, is it not?"}
    assert "contradictory_pairs" not in found(report_on(tmp_path, [*BASE, other, PAIR]))


def test_rows_that_share_only_their_prompt_are_an_information(tmp_path):
    report = report_on(tmp_path, [*BASE, {**BASE[5], "prompt": PAIR["prompt"]}])
    seen = found(report)["duplicate_prompts"]
    assert (seen.count, seen.lines, seen.level) == (2, (1, 101), "info")
    assert report.numbers["distinct_prompts"] == 100
    with_copy = report_on(tmp_path, [*BASE, {**BASE[5], "prompt": PAIR["prompt"]}, PAIR])
    assert found(with_copy)["duplicate_prompts"].count == 2  # the copy is told as a copy


def edited(text: str, share: float, chance: random.Random) -> str:
    """The text with a share of its words changed, in places drawn at random."""
    said = text.split(" ")
    for place in chance.sample(range(len(said)), round(share * len(said))):
        said[place] = f"other{chance.randrange(10_000)}"
    return " ".join(said)


def near(tmp_path, share: float) -> float:
    """The share of 200 edited copies that are found to be near duplicates; none of their 400 originals may be."""
    author, chance = Author(5), random.Random(6)
    originals = [author.pair(prompt=40, answer=120) for _ in range(600)]
    copies = [{name: edited(text, share, chance) for name, text in pair.items()} for pair in originals[:200]]
    seen = found(report_on(tmp_path, [*originals, *copies])).get("near_duplicate_rows")
    return (seen.count if seen else 0) / len(copies)


# Measured: a word in 100 or in 50 changed: all found; in 33: 97 %; in 25: 88 %; in 20: 67 %; in 12: 3 %; in 10: none.
def test_of_rows_with_a_word_in_fifty_changed_at_least_97_in_100_are_found(tmp_path):
    assert near(tmp_path, 0.02) >= 0.97


def test_of_rows_with_a_word_in_ten_changed_at_most_2_in_100_are_found(tmp_path):
    assert near(tmp_path, 0.1) <= 0.02


def test_two_near_rows_find_each_other_in_a_band_that_many_others_share(tmp_path):
    chance = random.Random(3)

    def row(like: list[int] | None = None) -> list[int]:
        """128 slots; the first four of each half are everybody's; `like`: three of each four others are its own."""
        slots = [
            chance.randrange(2**16) if like is None or place % 4 == 3 else like[place] for place in range(2 * SLOTS)
        ]
        slots[:4] = slots[SLOTS : SLOTS + 4] = [1, 2, 3, 4]
        return slots

    first = row()
    rows = [first, *(row() for _ in range(50)), row(like=first)]
    assert _groups(b"".join(array("H", slots).tobytes() for slots in rows)) == [[0, 51]]


def test_case_punctuation_and_spaces_make_no_other_row(tmp_path):
    shouted = {name: text.upper().replace(".", " !").replace(" ", "  ") for name, text in PAIR.items()}
    seen = found(report_on(tmp_path, [*BASE, shouted]))["near_duplicate_rows"]
    assert (seen.count, seen.lines, seen.level) == (1, (101,), "info")


@pytest.mark.parametrize("field", ["prompt", "chosen", "rejected"])
def test_rows_that_differ_in_one_of_their_texts_are_not_near(tmp_path, field):
    long = Author(9).pair(prompt=80, answer=80)
    other = {**long, field: Author(10).text(80)}
    assert "near_duplicate_rows" not in found(report_on(tmp_path, [*BASE, long, other]))


def test_short_questions_of_one_pattern_are_not_near(tmp_path):
    sums = [
        {
            "prompt": f"What is {n} plus {n + 3}?",
            "chosen": f"It is {2 * n + 3}, of course.",
            "rejected": f"{n}. Go away.",
        }
        for n in range(100)
    ]
    assert "near_duplicate_rows" not in found(report_on(tmp_path, sums))


def test_texts_without_spaces_are_compared_by_their_signs(tmp_path):
    prompt = "请告诉我在家里怎样才能做出好吃的面包，需要哪些材料和多长时间？"
    long = "首先把面粉和水混合在一起，然后加入盐和酵母，揉成面团，放在温暖的地方等待两个小时，最后放进烤箱烤四十分钟。"
    first = {"prompt": prompt, "chosen": long, "rejected": long[::-1]}
    second = {**first, "chosen": long.replace("四十", "五十")}
    assert found(report_on(tmp_path, [*BASE, first, second]))["near_duplicate_rows"].lines == (102,)


def test_many_near_duplicates_are_a_warning(tmp_path):
    def copies(count: int) -> str:
        extra = [{**pair, "chosen": pair["chosen"].upper()} for pair in BASE[:count]]
        return found(report_on(tmp_path, [*BASE, *extra]))["near_duplicate_rows"].level

    assert copies(11) == "info"
    assert copies(12) == "warning"


def test_the_estimate_of_similarity_is_within_a_fifth_of_the_truth():
    author, chance = Author(7), random.Random(8)
    for share in (0.0, 0.02, 0.05, 0.1, 0.3):
        text = author.text(300)
        one, other = words(text), words(edited(text, share, chance))
        runs = [set(zip(said, said[1:], said[2:], strict=False)) for said in (one, other)]
        truth = len(runs[0] & runs[1]) / len(runs[0] | runs[1])
        assert similarity(part(one), part(other)) == pytest.approx(truth, abs=0.2)


def test_a_prompt_that_stands_on_both_sides_but_for_its_case_flatters_the_evaluation(tmp_path):
    again = [{**pair, "prompt": pair["prompt"].upper()} for pair in clean(100, seed=2)]
    twice = [{**pair, "prompt": other["prompt"].lower()} for pair, other in zip(BASE, again, strict=True)]
    report = report_on(tmp_path, [*again, *twice])
    seen = found(report)["held_out_overlap"]
    assert seen.level == "warning"
    assert 0 < seen.count <= report.numbers["held_out_rows"] == 20
    assert "held_out_overlap" not in found(report_on(tmp_path, [*again, *BASE]))


def test_a_row_nearly_the_same_on_the_other_side_flatters_the_evaluation_too(tmp_path):
    base = [Author(seed).pair(prompt=60, answer=60) for seed in range(200, 300)]
    copies = [{**pair, "prompt": pair["prompt"] + " Please?"} for pair in base]
    assert found(report_on(tmp_path, [*base, *copies]))["held_out_overlap"].count >= 10
    assert "held_out_overlap" not in found(report_on(tmp_path, [*base, *copies], held_out_share=0.0))


def test_near_rows_that_are_held_out_together_flatter_nothing(tmp_path):
    near = [*BASE, {**BASE[0], "prompt": BASE[0]["prompt"] + " Please?"}]
    keys = [prompt_key(pair["prompt"]) for pair in near]

    def held_out(seed: int) -> set[int]:
        drawn = held_out_prompts(keys, seed=seed, share=0.1, max_rows=64)
        return {place for place in (0, 100) if keys[place] in drawn}

    together = next(seed for seed in range(1000) if held_out(seed) == {0, 100})
    apart = next(seed for seed in range(1000) if len(held_out(seed)) == 1)
    assert set(found(report_on(tmp_path, near, seed=together))) == {"near_duplicate_rows"}
    assert found(report_on(tmp_path, near, seed=apart))["held_out_overlap"].count == 1


def test_a_set_with_too_few_prompts_to_hold_some_out_is_told_so(tmp_path):
    def told(rows: int, **hyperparameters: float) -> bool:
        return "no_held_out_rows" in found(report_on(tmp_path, BASE[:rows], **hyperparameters))

    assert told(74)  # 7.4 prompts
    assert not told(76)
    assert not told(74, held_out_share=0.0)  # nobody asked for it
    assert not told(74, held_out_share=0.2)


def test_a_set_of_so_many_rows_a_prompt_that_too_few_prompts_fit_is_told_so(tmp_path):
    rows = [{**pair, "chosen": f"{pair['chosen']} {n}"} for pair in BASE[:90] for n in range(9)]
    [seen] = [seen for seen in report_on(tmp_path, rows).findings if seen.code == "no_held_out_rows"]
    assert "at most 64 rows (held_out_max_rows), would be fewer than 8;" in seen.message
    assert "no_held_out_rows" not in found(report_on(tmp_path, rows, held_out_max_rows=72))


MIXED = [*BASE[:30], *BASE[:5], SWAPPED, *[{**pair, "chosen": pair["chosen"].upper()} for pair in BASE[:9]]]
MIXED += [{**pair, "rejected": pair["chosen"]} for pair in BASE[40:42]]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(order=st.permutations(range(len(MIXED))))
def test_the_order_of_the_rows_changes_no_count_no_level_and_no_number(tmp_path, order):
    def counts(pairs):
        report = report_on(tmp_path, pairs)
        return {(seen.code, seen.level, seen.count) for seen in report.findings}, report.numbers

    assert counts([MIXED[place] for place in order]) == counts(MIXED)
