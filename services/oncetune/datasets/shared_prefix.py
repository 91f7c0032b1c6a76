"""Rows whose chosen and rejected begin with the prompt: what they share is the prompt.

Sets on the Hugging Face hub come so: whole conversations (UltraFeedback, which has the prompt beside them as a text
too), or whole texts of `\\n\\nHuman: …\\n\\nAssistant: …` (hh-rlhf).
"""

from oncetune.contracts.preferences import Message
from oncetune.datasets.fields import Said, Turns, WrongField

_ANSWER_BEGINS = "\n\nAssistant:"
_NO_PROMPT = "there is no prompt, and chosen and rejected do not begin with the same {}; give a prompt"

Split = tuple[Said, Said, Said]


def split(chosen: Said, rejected: Said) -> Split:
    """Prompt, chosen and rejected of a row without a prompt; raises WrongField when nothing sensible is shared."""
    if isinstance(chosen, str) and isinstance(rejected, str):
        return _split_texts(chosen, rejected)
    if isinstance(chosen, str) or isinstance(rejected, str):
        raise WrongField("there is no prompt, and only one of chosen and rejected is a list of messages; give a prompt")
    return _split_turns(chosen, rejected)


def without_prompt(prompt: Said, chosen: Said, rejected: Said) -> Split | None:
    """The row with its prompt taken from the beginning of both conversations; None where they do not begin so.

    A prompt that is a text stands there as a user's turn, perhaps after a system's. Texts stay as they are: an answer
    may well repeat its question.
    """
    if isinstance(chosen, str) or isinstance(rejected, str):
        return None
    shared = _shared_turns(chosen, rejected)
    if isinstance(prompt, str):
        question = prompt.strip()
        asked = (end for end in range(shared, 0, -1) if _asks(chosen[end - 1], question))
        end = next(asked, 0)
    else:
        end = len(prompt) if prompt == chosen[: len(prompt)] and len(prompt) <= shared else 0
    return (chosen[:end], chosen[end:], rejected[end:]) if end else None


def _asks(turn: Message, question: str) -> bool:
    return turn.role == "user" and turn.content.strip() == question


def _shared_turns(chosen: Turns, rejected: Turns) -> int:
    """How many turns both begin with, one of each left for the answer."""
    most = min(len(chosen), len(rejected)) - 1
    return next((turn for turn in range(most) if chosen[turn] != rejected[turn]), most)


def _split_turns(chosen: Turns, rejected: Turns) -> Split:
    for end in range(_shared_turns(chosen, rejected), 0, -1):
        if chosen[end].role == rejected[end].role == "assistant":
            return chosen[:end], chosen[end:], rejected[end:]
    raise WrongField(_NO_PROMPT.format("turns before an answer of the assistant"))


def _split_texts(chosen: str, rejected: str) -> Split:
    end = _border(chosen, rejected)
    if not chosen[:end].strip():
        raise WrongField(_NO_PROMPT.format("words"))
    for name, text in (("chosen", chosen), ("rejected", rejected)):
        if not text[end:].strip():
            raise WrongField(f"{name} is empty after the words that it shares with the other answer; give a prompt")
    return chosen[:end], chosen[end:], rejected[end:]


def _border(chosen: str, rejected: str) -> int:
    """Where the prompt ends: after the last shared `Assistant:`, else before the blank after the last shared word."""
    characters = zip(chosen, rejected, strict=False)
    length = next((at for at, (one, other) in enumerate(characters) if one != other), min(len(chosen), len(rejected)))
    shared = chosen[:length]
    marker = shared.rfind(_ANSWER_BEGINS)
    if marker >= 0:
        return marker + len(_ANSWER_BEGINS)
    ends_a_word = all(not text[len(shared) : len(shared) + 1].strip() for text in (chosen, rejected))
    if ends_a_word or shared[-1:].isspace():
        return len(shared.rstrip())
    words = shared.rsplit(maxsplit=1)
    return len(words[0]) if len(words) == 2 else 0
