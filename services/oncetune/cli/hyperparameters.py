"""Hyperparameters as they are typed: a JSON object, single settings, or both."""

import json
from collections.abc import Sequence

from pydantic import JsonValue, ValidationError

from oncetune.cli.exits import Exit, Failure
from oncetune.contracts.names import unknown_name
from oncetune.contracts.recipe import Hyperparameters


def read_hyperparameters(document: str | None, settings: Sequence[str]) -> dict[str, JsonValue]:
    """What was typed, a setting before the document. Raises Failure where it cannot be read; the server judges it."""
    try:
        chosen = json.loads(document) if document else {}
    except ValueError as error:
        raise Failure(f"--hyperparameters is not JSON: {error}", code=Exit.USAGE) from error
    if not isinstance(chosen, dict):
        raise Failure("--hyperparameters is not a JSON object.", code=Exit.USAGE)
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator or not name:
            raise Failure(f"--set takes key=value, not {setting}", code=Exit.USAGE)
        chosen[name] = _value(value)
    return chosen


def judged_hyperparameters(document: str | None, settings: Sequence[str]) -> Hyperparameters:
    """The same, with the defaults; raises Failure too where a server would refuse them."""
    chosen = read_hyperparameters(document, settings)
    if sentence := unknown_name(chosen, Hyperparameters):
        raise Failure(f"hyperparameters.{sentence}", code=Exit.USAGE)
    try:
        return Hyperparameters.model_validate(chosen)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "hyperparameters"
        raise Failure(f"{where}: {first['msg']}", code=Exit.USAGE) from error


def _value(text: str) -> JsonValue:
    """3 is a number, sigmoid a word."""
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text
    return value
