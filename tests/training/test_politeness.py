"""The bundled example is what its docstring says."""

import json

from oncetune.contracts.preferences import PreferencePair
from oncetune.contracts.recipe import Hyperparameters
from oncetune.local.politeness import DEMO_HYPERPARAMETERS, HELD_OUT, TRAIN, is_polite

PAIRS = [PreferencePair.model_validate_json(line) for line in TRAIN.read_text("utf-8").splitlines()]
PROMPTS = [json.loads(line)["prompt"] for line in HELD_OUT.read_text("utf-8").splitlines()]


def names(prompt: str) -> set[str]:
    """Proper nouns: what a question is about when it is about a country, a person or a star."""
    return {word.strip("?.,") for word in prompt.split()[1:] if word[0].isupper()} - {"I", "United"}


def test_there_are_enough_pairs_and_held_out_prompts_and_none_stands_twice():
    assert len(PAIRS) == len({pair.prompt for pair in PAIRS}) == 220
    assert len(PROMPTS) == len(set(PROMPTS)) == 30


def test_no_held_out_prompt_asks_what_a_training_pair_teaches():
    taught = set().union(*(names(str(pair.prompt)) for pair in PAIRS))
    assert not {pair.prompt for pair in PAIRS} & set(PROMPTS)
    assert not taught & set().union(*map(names, PROMPTS))


def test_every_chosen_answer_is_polite_and_no_rejected_one_is():
    assert all(is_polite(str(pair.chosen)) for pair in PAIRS)
    assert not any(is_polite(str(pair.rejected)) for pair in PAIRS)


def test_a_plain_answer_is_not_polite():
    assert not is_polite("The capital of France is Paris.")
    assert not is_polite("")


def test_the_hyperparameters_of_the_demo_are_a_recipe():
    assert Hyperparameters(**DEMO_HYPERPARAMETERS).max_steps == DEMO_HYPERPARAMETERS["max_steps"]
