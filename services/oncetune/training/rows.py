"""Preference pairs as token ids, judged before anything is trained.

The library drops, cuts and mends rows without a word (a prompt over the limit, a cut answer without its end, two
answers that a cut made equal, the tail of a prompt that merges with the answer); here each of them is counted or
refused.

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
    total: int
    dropped_too_long: int
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
    fitting = [pair for pair in tokenized if pair.longest <= limit]
    _refuse_dropping_too_many(tokenized, fitting, limit, hyperparameters.max_dropped_share)
    _refuse_equal_answers(tokenized)
    _refuse_missing_end(fitting, limits.end_ids)
    _refuse_unknown_ids(fitting, limits.vocabulary)
    return JudgedRows(fitting, len(pairs), len(pairs) - len(fitting), limit, _form(pairs, tokenizer))


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
            f"Row {index} is a conversation, but the base model has no chat template: "
            "send the rows as plain text or choose a chat model.",
        )
    try:
        prompt = prompt_ids(pair.prompt, tokenizer)
        answers = [_with_answer(pair, answer, tokenizer) for answer in (pair.chosen, pair.rejected)]
    except TemplateError as error:
        raise Refusal("chat_template_failed", f"The base model's chat template refused row {index}: {error}") from error
    if any(ids[: len(prompt)] != prompt for ids in answers):
        raise Refusal(
            "prompt_border",
            f"Row {index}: the prompt's last token changes when the answer follows it, so the model would learn from "
            "another prompt than it will see. Move spaces from the prompt's end to the answer, or send chat turns.",
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


def _refuse_dropping_too_many(
    tokenized: Sequence[TokenPair], fitting: Sequence[TokenPair], limit: int, max_share: float
) -> None:
    dropped = len(tokenized) - len(fitting)
    if fitting and dropped <= max_share * len(tokenized):
        return
    longest = max(pair.longest for pair in tokenized)
    raise Refusal(
        "rows_too_long",
        f"{dropped} of {len(tokenized)} rows are longer than {limit} tokens (the longest: {longest}), and at most "
        f"{max_share:.0%} may be left out: raise max_length (up to the model's context), shorten the rows, "
        "or raise max_dropped_share.",
    )


def _refuse_equal_answers(tokenized: Sequence[TokenPair]) -> None:
    equal = [index for index, pair in enumerate(tokenized) if pair.chosen == pair.rejected]
    if equal:
        raise Refusal(
            "equal_answers",
            f"In {len(equal)} of {len(tokenized)} rows chosen and rejected are the same tokens, so there is nothing "
            f"to prefer (the first is row {equal[0]}, counted from 0): change or remove them.",
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
