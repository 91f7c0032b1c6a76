"""Rows of OpenAI's preference fine-tuning: `input`, `preferred_output`, `non_preferred_output`.

An older specification of theirs calls the answers `preferred_completion` and `non_preferred_completion`; both are read.
"""

from collections.abc import Mapping

from pydantic import JsonValue

from oncetune.contracts.names import shown
from oncetune.datasets.fields import Turns, WrongField, read_field

_ANSWERS = (("preferred_output", "preferred_completion"), ("non_preferred_output", "non_preferred_completion"))
_OF_INPUT = ("messages", "tools", "parallel_tool_calls")


def is_openai(row: Mapping[str, JsonValue]) -> bool:
    """Whether the row is of this format, in order or not; a row with chosen or rejected is not."""
    answered = any(name in row for spellings in _ANSWERS for name in spellings)
    return answered and not {"chosen", "rejected"} & row.keys()


def openai_fields(row: Mapping[str, JsonValue]) -> tuple[str, str, str]:
    """The names of the three fields as this row spells them; where one is missing, its newer name."""
    preferred, other = (next((name for name in names if name in row), names[0]) for names in _ANSWERS)
    return "input", preferred, other


def read_openai(row: Mapping[str, JsonValue]) -> tuple[Turns, Turns, Turns]:
    """Prompt, chosen and rejected; raises WrongField."""
    for name in openai_fields(row):
        if name not in row:
            raise WrongField(f"{name} is missing")
    asked, *answers = openai_fields(row)
    prompt = _messages("input.messages", _messages_of(row[asked]))
    chosen, rejected = (_messages(name, row[name]) for name in answers)
    return prompt, chosen, rejected


def _messages_of(asked: JsonValue) -> JsonValue:
    if not isinstance(asked, dict):
        raise WrongField("input is not an object with messages")
    for name, value in asked.items():
        if name not in _OF_INPUT:
            raise WrongField(f"input.{shown(name)} is not a field of input; use messages")
        if name == "tools" and value not in ([], None):
            raise WrongField("input.tools: tools cannot be trained on; leave such rows out")
        if name == "parallel_tool_calls" and not isinstance(value, bool | None):
            raise WrongField("input.parallel_tool_calls is neither true nor false")
    if "messages" not in asked:
        raise WrongField("input.messages is missing")
    return asked["messages"]


def _messages(name: str, value: JsonValue) -> Turns:
    if isinstance(value, list):  # `developer` is their newer word for it
        value = [_renamed(message) if isinstance(message, dict) else message for message in value]
    turns = read_field(name, value)
    if isinstance(turns, str):
        raise WrongField(f"{name} is not a list of messages")
    return turns


def _renamed(message: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {**message, "role": "system"} if message.get("role") == "developer" else message
