"""Preference pairs as token ids, judged before anything is trained.

The library drops, cuts and mends rows without a word (a prompt over the limit, a cut answer without its end, two
answers that a cut made equal, the tail of a prompt that merges with the answer); here each of them is counted or
refused. A row whose answers are the same tokens teaches nothing (the loss is constant there): it is left out like one
that is too long, and counted once, as equal, where it is both. In a message, rows count from 1.

Plain text meets a chat model as its users will: when the tokenizer has a chat template, a text prompt becomes one
user turn and a text answer one assistant turn. Without a template the texts are joined as they are and the answer
gets the end-of-sequence token. Text and chat rows may so be mixed where there is a template; without one, a single
chat row refuses the set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import TemplateError
from pydantic import ValidationError
from transformers import PreTrainedTokenizerBase

from oncetune.contracts.preferences import Message, PreferencePair
from oncetune.contracts.recipe import Hyperparameters
from oncetune.contracts.strict_json import UnreadableJson, parse
from oncetune.training.model import Limits
from oncetune.training.refusal import Refusal

_END_WITHIN = 4  # ids: a template may write a newline after the end-of-sequence token

Turns = list[dict[str, str]]


@dataclass(frozen=True)
class TokenPair:
    """One pair as ids; a sequence is `prompt + chosen` or `prompt + rejected`."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]

    @property
    def longest(self) -> int:
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


@dataclass(frozen=True)
class JudgedRows:
    """Rows that can be trained on as they are, and what became of the others."""

    pairs: list[TokenPair]
    numbers: list[int]  # where each of them stands in the dataset, from 0
    total: int
    dropped_equal: int
    dropped_too_long: int  # of the others
    limit: int  # tokens of prompt and answer together
    form: str  # text, chat, text_as_chat or mixed_as_chat


def read_pairs(path: Path) -> list[PreferencePair]:
    """The pairs of a JSONL file; empty lines are passed over. Raises Refusal with the line, never with its text."""
    pairs = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            pairs.append(PreferencePair.model_validate(parse(line)))
        except UnreadableJson as error:
            raise Refusal("dataset_unreadable", f"Line {number} of the dataset: {error}.") from error
        except ValidationError as error:
            field = ".".join(str(part) for part in error.errors()[0]["loc"][:1]) or "the line"
            raise Refusal(
                "dataset_unreadable", f"Line {number} of the dataset is no preference pair: look at {field}."
            ) from None  # the cause quotes the text
    return pairs


def judge_rows(
    pairs: Sequence[PreferencePair],
    tokenizer: PreTrainedTokenizerBase,
    limits: Limits,
    hyperparameters: Hyperparameters,
) -> JudgedRows:
    """Tokenise and judge; raises Refusal when the set cannot be trained on as the recipe says."""
    if not pairs:
        raise Refusal("dataset_empty", "The dataset holds no preference pair: send at least one.")
    tokenized = [_tokenize(index, pair, tokenizer) for index, pair in enumerate(pairs)]
    limit = min(hyperparameters.max_length, limits.context)
    different = [number for number, pair in enumerate(tokenized) if pair.chosen != pair.rejected]
    numbers = [number for number in different if tokenized[number].longest <= limit]
    _refuse_too_many_equal(tokenized, hyperparameters)
    _refuse_dropping_too_many(tokenized, len(different), len(numbers), limit, hyperparameters)
    fitting = [tokenized[number] for number in numbers]
    _refuse_missing_end(fitting, limits.end_ids)
    _refuse_unknown_ids(fitting, limits.vocabulary)
    return JudgedRows(
        pairs=fitting,
        numbers=numbers,
        total=len(pairs),
        dropped_equal=len(pairs) - len(different),
        dropped_too_long=len(different) - len(fitting),
        limit=limit,
        form=_form(pairs, tokenizer),
    )


def as_turns(text: str | Sequence[Message], role: str) -> Turns:
    """Chat turns as they are; a plain text as one turn of `role`."""
    if isinstance(text, str):
        return [{"role": role, "content": text}]
    return [{"role": turn.role, "content": turn.content} for turn in text]


def prompt_ids(prompt: str | Sequence[Message], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that a model is given before it answers, in training and in sampling alike."""
    if not tokenizer.chat_template:
        return _ids(tokenizer(prompt))
    return _ids(tokenizer.apply_chat_template(as_turns(prompt, "user"), add_generation_prompt=True, return_dict=True))


def _ids(encoded: object) -> list[int]:
    return list(encoded["input_ids"])  # type: ignore[index]  # transformers types this as a union of five


def _tokenize(index: int, pair: PreferencePair, tokenizer: PreTrainedTokenizerBase) -> TokenPair:
    is_text = all(isinstance(text, str) for text in (pair.prompt, pair.chosen, pair.rejected))
    if not tokenizer.chat_template and not is_text:
        raise Refusal(
            "no_chat_template",
            f"Row {index + 1} is a conversation, but the base model has no chat template: "
            "send the rows as plain text or choose a chat model.",
        )
    try:
        prompt = prompt_ids(pair.prompt, tokenizer)
        answers = [_with_answer(pair, answer, tokenizer) for answer in (pair.chosen, pair.rejected)]
    except TemplateError as error:
        what = f"The base model's chat template refused row {index + 1}: {error}"
        raise Refusal("chat_template_failed", what) from error
    if any(ids[: len(prompt)] != prompt for ids in answers):
        raise Refusal(
            "prompt_border",
            f"Row {index + 1}: the prompt's last token changes when the answer follows it, so the model would learn "
            "from another prompt than it will see. Move spaces from the prompt's end to the answer, or send turns.",
        )
    chosen, rejected = (ids[len(prompt) :] for ids in answers)
    return TokenPair(prompt, chosen, rejected)


def _with_answer(
    pair: PreferencePair, answer: str | Sequence[Message], tokenizer: PreTrainedTokenizerBase
) -> list[int]:
    if tokenizer.chat_template:
        turns = as_turns(pair.prompt, "user") + as_turns(answer, "assistant")
        return _ids(tokenizer.apply_chat_template(turns, return_dict=True))
    end = tokenizer.eos_token or ""
    text = str(answer)
    return _ids(tokenizer(str(pair.prompt) + (text if text.endswith(end) else text + end)))


def _refuse_too_many_equal(tokenized: Sequence[TokenPair], hyperparameters: Hyperparameters) -> None:
    equal = [index for index, pair in enumerate(tokenized) if pair.chosen == pair.rejected]
    if not hyperparameters.may_leave_out(len(equal), len(tokenized)):
        raise Refusal(
            "equal_answers",
            f"In {len(equal)} of {len(tokenized)} rows chosen and rejected are the same tokens, so there is nothing "
            f"to prefer (the first is row {equal[0] + 1}), and at most {hyperparameters.most_left_out} may be "
            "left out: change or remove them.",
        )


def _refuse_dropping_too_many(
    tokenized: Sequence[TokenPair], different: int, fitting: int, limit: int, hyperparameters: Hyperparameters
) -> None:
    if hyperparameters.may_leave_out(len(tokenized) - fitting, len(tokenized)):
        return
    longest = max(pair.longest for pair in tokenized)
    equal = len(tokenized) - different
    raise Refusal(
        "rows_too_long",
        f"{different - fitting} of {len(tokenized)} rows are longer than {limit} tokens (the longest: {longest})"
        + (f", {equal} more have the same answer twice" if equal else "")
        + f", and at most {hyperparameters.most_left_out} may be left out: raise max_length (up to the model's "
        "context), shorten the rows, or raise max_dropped_share.",
    )


def _refuse_missing_end(pairs: Sequence[TokenPair], end_ids: frozenset[int]) -> None:
    endless = [pair for pair in pairs if not all(end_ids & set(ids[-_END_WITHIN:]) for ids in _answers(pair))]
    if endless:
        raise Refusal(
            "no_end_of_sequence",
            f"{len(endless)} of {len(pairs)} answers do not end with an end-of-sequence token of the base model, so "
            "the tuned model would never stop: its chat template must write one after the assistant's turn.",
        )


def _refuse_unknown_ids(pairs: Sequence[TokenPair], vocabulary: int) -> None:
    highest = max(max(pair.prompt + pair.chosen + pair.rejected) for pair in pairs)
    if highest >= vocabulary:
        raise Refusal(
            "tokenizer_mismatch",
            f"The tokenizer makes the id {highest}, but the base model has embeddings for {vocabulary} ids only: "
            "its files do not belong together.",
        )


def _answers(pair: TokenPair) -> tuple[list[int], list[int]]:
    return pair.chosen, pair.rejected


def _form(pairs: Sequence[PreferencePair], tokenizer: PreTrainedTokenizerBase) -> str:
    texts = [isinstance(text, str) for pair in pairs for text in (pair.prompt, pair.chosen, pair.rejected)]
    if not tokenizer.chat_template:
        return "text"
    return "text_as_chat" if all(texts) else "mixed_as_chat" if any(texts) else "chat"
