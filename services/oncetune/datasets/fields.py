"""One field of a row: a text, or a list of messages."""

from pydantic import JsonValue, ValidationError

from oncetune.contracts.preferences import Message

Turns = tuple[Message, ...]
Said = str | Turns
_CALLS = ("tool_calls", "tool_call_id", "function_call")
_MAY_BE_NULL = frozenset({*_CALLS, "name", "refusal", "audio", "weight"})  # tables write what only other messages have


class WrongField(ValueError):
    """What is wrong with a row: the field and what is expected, without the row's place and text."""


def read_field(name: str, value: JsonValue) -> Said:
    """The field's text or messages; raises WrongField."""
    if value is None or value == [] or _is_blank(value):
        raise WrongField(f"{name} is empty; give a non-empty text or a list of messages")
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise WrongField(f"{name} is not a text or a list of messages")
    return tuple(_read_message(f"{name}[{turn}]", message) for turn, message in enumerate(value))


def _is_blank(value: JsonValue) -> bool:
    return isinstance(value, str) and not value.strip()


def _read_message(name: str, message: JsonValue) -> Message:
    if isinstance(message, dict):
        message = {key: value for key, value in message.items() if value is not None or key not in _MAY_BE_NULL}
        if call := next((key for key in _CALLS if key in message), None):
            raise WrongField(f"{name}.{call}: calls of tools cannot be trained on; leave such rows out")
    if not isinstance(message, dict) or set(message) != {"role", "content"}:
        raise WrongField(f"{name} is not an object with exactly role and content")
    if _is_blank(message["content"]):
        raise WrongField(f"{name}.content is empty")
    try:
        return Message.model_validate(message)
    except ValidationError as error:
        first = error.errors()[0]
        raise WrongField(f"{name}.{first['loc'][0]}: {first['msg']}") from None  # the cause quotes the text
