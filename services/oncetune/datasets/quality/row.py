"""One row as the checks see it, and how its text is compared, hashed and shown."""

import hashlib
import json
import re
from functools import cached_property
from typing import NamedTuple

from oncetune.contracts import names
from oncetune.contracts.preferences import Message
from oncetune.contracts.quality import EXAMPLE_CHARACTERS
from oncetune.contracts.split import prompt_key
from oncetune.datasets.quality.signature import words

FIELDS = ("prompt", "chosen", "rejected")
_BLANKS = str.maketrans("\n\t", "  ")

# Neither space nor sign: zero-width and direction marks, fillers, variation selectors, tags, control characters.
_VISIBLE = re.compile(
    r"[^\s\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f"
    r"\u205f-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


class Turn(NamedTuple):
    """What one of the two says; a plain text is a turn of the user (prompt) or of the assistant (answers)."""

    role: str
    content: str


def _turns(value: str | list[dict[str, str]], role: str) -> tuple[Turn, ...]:
    if isinstance(value, str):
        return (Turn(role, value),)
    return tuple(Turn(turn["role"], turn["content"]) for turn in value)


class Row:
    """A preference pair with its line (from 1). Nothing of it outlives the walk but hashes, counts and examples."""

    def __init__(self, line: int, jsonl: bytes) -> None:
        pair = json.loads(jsonl)
        self.line = line
        self.key = digest(jsonl.rstrip(b"\r\n"))
        self.is_text = all(isinstance(pair[field], str) for field in FIELDS)
        self.prompt_turns = _turns(pair["prompt"], "user")
        self.chosen_turns = _turns(pair["chosen"], "assistant")
        self.rejected_turns = _turns(pair["rejected"], "assistant")
        self.prompt = _joined(self.prompt_turns)
        self.chosen = _joined(self.chosen_turns)
        self.rejected = _joined(self.rejected_turns)
        self._prompt_value = pair["prompt"]

    @property
    def texts(self) -> tuple[str, str, str]:
        return self.prompt, self.chosen, self.rejected

    @property
    def has_equal_answers(self) -> bool:
        """To the letter: whatever the tokenizer, training learns nothing from the row."""
        return self.chosen_turns == self.rejected_turns

    @property
    def question(self) -> str:
        """What the answer answers: the last turn of the prompt."""
        return self.prompt_turns[-1].content if self.prompt_turns else ""

    @cached_property
    def prompt_key(self) -> bytes:
        """The contract's key of the prompt, by which the held-out rows are chosen; 32 bytes."""
        value = self._prompt_value
        turns = value if isinstance(value, str) else [Message.model_construct(**turn) for turn in value]
        return bytes.fromhex(prompt_key(turns))

    @cached_property
    def prompt_words(self) -> list[str]:
        return words(self.prompt)

    @cached_property
    def is_ascii(self) -> bool:
        return self.prompt.isascii() and self.chosen.isascii() and self.rejected.isascii()


def _joined(turns: tuple[Turn, ...]) -> str:
    return turns[0].content if len(turns) == 1 else "\n\n".join(turn.content for turn in turns)


def digest(text: str | bytes) -> int:
    """64 bits: among a million texts two share one with a chance of 1 to 37 million."""
    plain = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(plain, digest_size=8).digest())


def is_blank(text: str) -> bool:
    """Whether there is nothing to see: empty, white space, zero-width or control characters only."""
    return _VISIBLE.search(text) is None


def squeezed(text: str) -> str:
    """The text without its white space and its case."""
    return "".join(text.split()).casefold()


def shown(text: str) -> str:
    """The text's beginning as an example: one line of at most EXAMPLE_CHARACTERS that is safe on a terminal."""
    return names.shown(text[: EXAMPLE_CHARACTERS + 1].translate(_BLANKS), EXAMPLE_CHARACTERS)
