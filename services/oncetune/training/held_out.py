"""Which of the judged rows are trained on and which are held out, and whose prompts are answered before and after."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oncetune.contracts.preferences import Message, PreferencePair
from oncetune.contracts.recipe import Hyperparameters
from oncetune.contracts.split import held_out_prompts, prompt_key
from oncetune.training.rows import JudgedRows, TokenPair

Prompt = str | Sequence[Message]


@dataclass(frozen=True)
class Split:
    """No prompt is on both sides. `samples` are of the held-out rows, of the trained ones where none are held out."""

    trained: list[TokenPair]
    held_out: list[TokenPair]
    samples: list[Prompt]


def split_rows(
    pairs: Sequence[PreferencePair], judged: JudgedRows, hyperparameters: Hyperparameters, *, longest_sample: int
) -> Split:
    """The same for every attempt: it depends on the dataset's prompts and on the seed, not on the order of the rows.

    The prompts are drawn among all rows, as the quality report does, and only then are rows over the limit left out,
    on both sides alike. Where that would leave nothing to train on, nothing is held out. A sample's prompt has at most
    `longest_sample` tokens: the model must be able to read it and its answer.
    """
    keys = [prompt_key(pair.prompt) for pair in pairs]
    drawn = held_out_prompts(
        keys,
        seed=hyperparameters.seed,
        share=hyperparameters.held_out_share,
        max_rows=hyperparameters.held_out_max_rows,
    )
    held_out = [place for place, number in enumerate(judged.numbers) if keys[number] in drawn]
    if len(held_out) == len(judged.pairs):
        held_out = []
    trained = sorted(set(range(len(judged.pairs))) - set(held_out))
    readable = (place for place in held_out or trained if len(judged.pairs[place].prompt) <= longest_sample)
    return Split(
        [judged.pairs[place] for place in trained],
        [judged.pairs[place] for place in held_out],
        _first_prompts((pairs[judged.numbers[place]].prompt for place in readable), hyperparameters.samples),
    )


def _first_prompts(prompts: Iterable[Prompt], count: int) -> list[Prompt]:
    """Each once."""
    first: dict[str, Prompt] = {}
    for prompt in prompts:
        if len(first) == count:
            break
        first.setdefault(prompt_key(prompt), prompt)
    return list(first.values())
