"""Which prompts are held out: the same choice wherever it is asked, for the quality report and for training alike."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence

from oncetune.contracts.preferences import Message

FEWEST_PROMPTS = 8  # held out: a mean over fewer says nothing, and a small set needs all it has


def prompt_key(prompt: str | Sequence[Message]) -> str:
    """SHA-256 (hex) of a prompt, text or turns; equal prompts have equal keys.

    A single turn of the user is the same as its text: a chat template makes the same prompt of both.
    """
    if not isinstance(prompt, str) and len(prompt) == 1 and prompt[0].role == "user":
        prompt = prompt[0].content
    turns = prompt if isinstance(prompt, str) else [turn.model_dump(mode="json") for turn in prompt]
    return hashlib.sha256(json.dumps(turns, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def held_out_prompts(keys: Sequence[str], *, seed: int, share: float, max_rows: int) -> frozenset[str]:
    """The keys of the prompts that are held out, given the prompt key of every row; empty where they would be too few.

    `share` is of the distinct prompts, drawn by a hash with `seed`, so the order of the rows does not matter; rows
    with the same prompt stay together. A prompt that would make them more than `max_rows` rows is passed over; where
    fewer than FEWEST_PROMPTS are left of them, there are none.
    """
    rows = Counter(keys)
    drawn, taken = set(), 0
    in_turn = sorted(rows, key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest())
    for key in in_turn[: round(share * len(rows))]:
        if taken + rows[key] <= max_rows:
            drawn.add(key)
            taken += rows[key]
    return frozenset(drawn if len(drawn) >= FEWEST_PROMPTS else ())
