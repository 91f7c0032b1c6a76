"""Rows are judged before anything is trained: every row is used as it is, counted as dropped, or refuses the set."""

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from oncetune.contracts.preferences import PreferencePair
from oncetune.contracts.recipe import Hyperparameters
from oncetune.training.model import BaseModel, read_limits
from oncetune.training.refusal import Refusal
from oncetune.training.rows import judge_rows, prompt_ids, read_pairs
from tests.training.runs import CHAT_ROWS, TEXT_ROWS


@pytest.fixture
def tokenizer(toy_model):
    return AutoTokenizer.from_pretrained(toy_model, local_files_only=True)


@pytest.fixture
def judge(toy_model, tokenizer):
    limits = read_limits(BaseModel("toy", toy_model, "0"), tokenizer)

    def judged(rows, **knobs):
        pairs = [PreferencePair.model_validate(row) for row in rows]
        return judge_rows(pairs, tokenizer, limits, Hyperparameters(**knobs))

    return judged


def row(prompt="Hello?", chosen="Good day.", rejected="What?"):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


LONG = "many words " * 100


def test_the_ids_are_those_that_trl_would_make(judge, tokenizer):
    from datasets import Dataset
    from trl import DPOTrainer

    bare = DPOTrainer.__new__(DPOTrainer)  # its tokenising needs no model
    bare._tokenizer = tokenizer

    class Arguments:
        dataset_num_proc, max_length, truncation_mode = None, None, "keep_start"

    for rows, template in ((CHAT_ROWS, tokenizer.chat_template), (TEXT_ROWS, None)):
        tokenizer.chat_template = template
        theirs = bare._prepare_dataset(Dataset.from_list(rows), tokenizer, Arguments, "train")
        ours = judge(rows).pairs
        assert [pair.prompt for pair in ours] == theirs["prompt_ids"][:]
        assert [pair.chosen for pair in ours] == theirs["chosen_ids"][:]
        assert [pair.rejected for pair in ours] == theirs["rejected_ids"][:]


def test_text_and_chat_rows_may_be_mixed_for_a_chat_model(judge):
    judged = judge([TEXT_ROWS[0], CHAT_ROWS[1]])
    assert judged.form == "mixed_as_chat"
    assert judged.pairs == [judge(TEXT_ROWS).pairs[0], judge(TEXT_ROWS).pairs[1]]


def test_a_sampled_prompt_is_the_trained_prompt(judge, tokenizer):
    assert prompt_ids(TEXT_ROWS[0]["prompt"], tokenizer) == judge(TEXT_ROWS).pairs[0].prompt


def test_rows_over_the_limit_are_left_out_and_counted(judge):
    judged = judge([*TEXT_ROWS, row(chosen=LONG)], max_length=100)
    assert (judged.total, len(judged.pairs), judged.dropped_too_long, judged.limit) == (7, 6, 1, 100)
    assert (judged.numbers, judged.dropped_equal) == ([0, 1, 2, 3, 4, 5], 0)


@pytest.mark.parametrize("side", ["prompt", "chosen", "rejected"])
def test_a_row_is_too_long_whichever_part_is(judge, side):
    assert judge([*TEXT_ROWS, row(**{side: LONG})], max_length=100).dropped_too_long == 1


def test_the_limit_is_never_above_what_the_model_can_read(judge):
    assert judge(TEXT_ROWS, max_length=4096).limit == 512


def test_too_many_rows_over_the_limit_refuse_the_set(judge):
    with pytest.raises(Refusal, match="2 of 8 rows are longer than 100 tokens") as refused:
        judge([*TEXT_ROWS, row(chosen=LONG), row(prompt=LONG)], max_length=100)
    assert refused.value.code == "rows_too_long"


def test_a_set_of_which_nothing_is_left_is_refused_however_much_may_be_dropped(judge):
    with pytest.raises(Refusal, match="1 of 1 rows"):
        judge([row(chosen=LONG)], max_length=100, max_dropped_share=1.0)


EQUAL = row(chosen="Same.", rejected="Same.")


def test_rows_with_equal_answers_teach_nothing_and_are_left_out_and_counted(judge):
    judged = judge([EQUAL, *TEXT_ROWS])
    assert (judged.total, judged.dropped_equal, judged.dropped_too_long) == (7, 1, 0)
    assert (judged.pairs, judged.numbers) == (judge(TEXT_ROWS).pairs, [1, 2, 3, 4, 5, 6])


def test_more_equal_answers_than_may_be_left_out_refuse_the_set_and_the_first_row_is_named(judge):
    with pytest.raises(Refusal, match=r"In 2 of 8 rows .* row 7\), and at most 20%") as refused:
        judge([*TEXT_ROWS, EQUAL, row(chosen="No.", rejected="No.")])
    assert refused.value.code == "equal_answers"
    assert judge([*TEXT_ROWS, EQUAL, EQUAL], max_dropped_share=0.25).dropped_equal == 2


def test_a_set_of_equal_answers_only_is_refused_however_much_may_be_dropped(judge):
    with pytest.raises(Refusal, match="In 2 of 2 rows") as refused:
        judge([EQUAL, EQUAL], max_dropped_share=1.0)
    assert refused.value.code == "equal_answers"


def test_a_row_that_is_equal_and_too_long_counts_once_and_both_reasons_count_against_the_share(judge):
    rows = [*TEXT_ROWS, *TEXT_ROWS, row(chosen=LONG, rejected=LONG), row(chosen=LONG)]
    judged = judge(rows, max_length=100)
    assert (judged.total, len(judged.pairs), judged.dropped_equal, judged.dropped_too_long) == (14, 12, 1, 1)
    with pytest.raises(Refusal, match=r"2 of 15 rows are longer .*, 1 more have the same answer twice") as refused:
        judge([*rows, row(rejected=LONG)], max_length=100, max_dropped_share=0.19)
    assert refused.value.code == "rows_too_long"


def test_answers_that_differ_only_before_tokenisation_are_equal(judge):
    """The chat template trims a turn."""
    turn = [{"role": "assistant", "content": "Same."}]
    assert judge([*TEXT_ROWS, row(chosen="Same.", rejected=turn)]).dropped_equal == 1


def test_an_empty_set_is_refused(judge):
    with pytest.raises(Refusal, match="no preference pair"):
        judge([])


def test_a_prompt_whose_last_token_melts_into_the_answer_is_refused(judge, tokenizer):
    tokenizer.chat_template = None
    with pytest.raises(Refusal, match="Move spaces") as refused:
        judge([row(prompt="Answer: ", chosen="yes", rejected="no")])
    assert refused.value.code == "prompt_border"


def test_a_template_that_rejects_a_conversation_refuses_the_set(judge, tokenizer):
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(Refusal, match="row 1: roles must alternate"):
        judge(CHAT_ROWS)


def test_an_unreadable_line_is_refused_by_its_number_and_never_quoted(tmp_path: Path):
    file = tmp_path / "rows.jsonl"
    secret = "a private sentence"
    for line in (json.dumps({"prompt": secret}), '{"prompt": "' + secret, json.dumps([secret])):
        file.write_text(json.dumps(TEXT_ROWS[0]) + "\n\n" + line + "\n")
        with pytest.raises(Refusal, match="Line 3 of the dataset") as refused:
            read_pairs(file)
        assert refused.value.code == "dataset_unreadable"
        assert secret not in refused.value.message
