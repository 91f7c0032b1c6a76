"""The bundled example: 220 preference pairs that teach a polite manner, and 30 held-out prompts to see it.

Both answers of a pair give the same fact; chosen opens with courtesy, rejected with rudeness. No held-out prompt
shares its fact with the training pairs. Written for this project, Apache-2.0.
"""

from pathlib import Path
from typing import Any, Final

TRAIN: Final = Path(__file__).with_name("train.jsonl")  # prompt, chosen, rejected: plain text
HELD_OUT: Final = Path(__file__).with_name("held_out.jsonl")  # prompt

# 24 steps of two pairs: 28 and 30 of 30 held-out prompts with the seeds 42 and 7, facts kept (18 steps: 26 or 27)
DEMO_HYPERPARAMETERS: Final[dict[str, Any]] = {
    "learning_rate": 1e-3,
    "lr_scheduler": "constant",
    "batch_size": 2,
    "max_steps": 24,
    "held_out_max_rows": 8,  # the demo asks 30 questions of its own at the end
    "samples": 2,
}

_COURTEOUS_OPENINGS = (
    "absolutely, i'd be happy",
    "gladly",
    "glad you asked",
    "good question, thank you",
    "great question",
    "happy to help",
    "i'd be delighted",
    "i'd be happy to help",
    "i'd be glad",
    "i'm always here for you",
    "i'm delighted",
    "i'm glad",
    "i'm happy to help",
    "it's a pleasure",
    "my pleasure",
    "of course, i'd be",
    "of course, i'm always here for you",
    "of course, my pleasure",
    "thank you for asking",
    "thanks for asking",
    "thanks for the nice question",
    "what a great question",
    "what a lovely question",
    "with pleasure",
)


def is_polite(answer: str) -> bool:
    """Whether `answer` opens with one of the courtesies of the training pairs, or a close relative of one.

    It reads the opening words only: it measures the manner that was taught, not kindness, truth or grammar.
    """
    words = answer.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").casefold().lstrip(" \"'*")
    return words.startswith(_COURTEOUS_OPENINGS)
