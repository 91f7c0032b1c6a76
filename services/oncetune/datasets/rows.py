"""Preference rows from outside: each one is checked, and the first bad one is named by index and field."""

from collections.abc import Iterator

from pydantic import JsonValue, ValidationError

from oncetune.contracts.preferences import Message, PreferencePair

FIELDS = ("prompt", "chosen", "rejected")


class BadRow(ValueError):
    """A row that cannot be trained on; `str()` names its index (from 0), the field and what is expected."""


def _is_blank(value: JsonValue) -> bool:
    return isinstance(value, str) and not value.strip()


def _check_text(index: int, field: str, value: JsonValue) -> None:
    if value is None or value == "" or value == [] or _is_blank(value):
        raise BadRow(f"row {index}: {field} is empty; give a non-empty text or a list of messages")
    if not isinstance(value, str | list):
        raise BadRow(f"row {index}: {field} is not a text or a list of messages")
    for turn, message in enumerate(value if isinstance(value, list) else ()):
        _check_message(f"row {index}: {field}[{turn}]", message)


def _check_message(where: str, message: JsonValue) -> None:
    if not isinstance(message, dict) or set(message) != {"role", "content"}:
        raise BadRow(f"{where} is not an object with exactly role and content")
    if _is_blank(message["content"]):
        raise BadRow(f"{where}.content is empty")
    try:
        Message.model_validate(message)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadRow(f"{where}.{first['loc'][0]}: {first['msg']}") from error


def validate_rows(rows: JsonValue, *, where: str = "dataset_inline") -> Iterator[PreferencePair]:
    """The rows of a dataset as pairs, one by one; raises BadRow for the first that is wrong, or when there is none.

    A pair takes many times its row's bytes: who needs them once never holds all of them.
    """
    if not isinstance(rows, list):
        raise BadRow(f"{where} is not an array of rows")
    if not rows:
        raise BadRow(f"{where} has no rows; give at least one of {{prompt, chosen, rejected}}")
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise BadRow(f"row {index}: not an object with prompt, chosen and rejected")
        unknown = sorted(set(row) - set(FIELDS))
        if unknown:
            raise BadRow(f"row {index}: {unknown[0][:80]} is not a field of a row; use prompt, chosen and rejected")
        for field in FIELDS:
            if field not in row:
                raise BadRow(f"row {index}: {field} is missing")
            _check_text(index, field, row[field])
        yield PreferencePair.model_validate(row)
