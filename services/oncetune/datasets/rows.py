"""Preference rows from outside: each one is checked, and the first bad one is named by its place and field."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice

from pydantic import JsonValue

from oncetune.contracts.names import shown
from oncetune.contracts.preferences import PreferencePair, RowFormat
from oncetune.datasets.fields import Said, WrongField, read_field
from oncetune.datasets.openai import is_openai, openai_fields, read_openai
from oncetune.datasets.refusal import BadRow
from oncetune.datasets.shared_prefix import Split, split, without_prompt
from oncetune.datasets.survey import Survey, own_format

MAX_ROW_BYTES = 1024 * 1024  # as it arrives in a file, and as canonical JSON
TOO_LARGE = f"larger than {MAX_ROW_BYTES} bytes; shorten it or leave it out"
FIELDS = ("prompt", "chosen", "rejected")
_MOST_COLUMNS = 1000  # of a table that somebody made on purpose; each is compared with the field that is missing
_NOT_A_PROMPT = frozenset({"prompt_id", "prompt_hash"})
_INSTEAD_OF_PROMPT = frozenset({"context", "history", "input", "instruction", "query", "question", "system"})


def validate_rows(
    rows: JsonValue, *, where: str = "dataset_inline", survey: Survey | None = None
) -> Iterator[PreferencePair]:
    """The rows of a dataset as pairs, one by one; raises BadRow for the first that is wrong, or when there is none.

    A name that is none of a row's fields is wrong here. A pair takes many times its row's bytes: who needs them once
    never holds all of them.
    """
    if not isinstance(rows, list):
        raise BadRow(f"{where} is not an array of rows")
    if not rows:
        raise BadRow(f"{where} has no rows; give at least one of {{prompt, chosen, rejected}}")
    survey = Survey() if survey is None else survey
    for index, row in enumerate(rows):
        if isinstance(row, dict):
            _refuse_unknown(f"{where}[{index}]", row)
        yield read_row(f"{where}[{index}]", row, survey)


def read_row(place: str, row: JsonValue, survey: Survey) -> PreferencePair:
    """One row of any known format, counted in `survey`, the names too that are none of its fields.

    Raises BadRow, whose message begins with `place` (reading.py has the rule).
    """
    survey.place = place
    if not isinstance(row, dict):
        raise BadRow(f"{place}: not an object with prompt, chosen and rejected")
    try:
        format_, (prompt, chosen, rejected) = _read(row)
    except WrongField as wrong:
        raise BadRow(f"{place}: {wrong}") from None
    pair = PreferencePair(prompt=prompt, chosen=chosen, rejected=rejected)
    survey.formats[format_ or own_format(pair)] += 1
    fields = _fields(row)
    survey.leave_out(name for name in row if name not in fields)
    return pair


def only_fields(row: JsonValue) -> JsonValue:
    """The row without the names that are none of its fields; `read_row` has accepted it."""
    assert isinstance(row, dict)
    return {name: row[name] for name in _fields(row) if name in row}


def _fields(row: Mapping[str, JsonValue]) -> tuple[str, str, str]:
    return openai_fields(row) if is_openai(row) else FIELDS


def _refuse_unknown(place: str, row: Mapping[str, JsonValue]) -> None:
    fields = _fields(row)
    unknown = sorted(row.keys() - set(fields))
    if unknown:
        use = f"use {fields[0]}, {fields[1]} and {fields[2]}"
        raise BadRow(f"{place}: {shown(unknown[0])} is not a field of a row; {use}")


def _read(row: Mapping[str, JsonValue]) -> tuple[RowFormat | None, Split]:
    """The format, None where the row says all itself; then prompt, chosen and rejected."""
    if is_openai(row):
        return "openai", read_openai(row)
    if "prompt" not in row and "chosen" in row and "rejected" in row:
        _refuse_misspelt(row, "prompt")
        return "shared_prefix", split(read_field("chosen", row["chosen"]), read_field("rejected", row["rejected"]))
    prompt, chosen, rejected = (_required(row, name) for name in FIELDS)
    if begun := without_prompt(prompt, chosen, rejected):
        return "shared_prefix", begun
    return None, (prompt, chosen, rejected)


def _required(row: Mapping[str, JsonValue], name: str) -> Said:
    if name not in row:
        _refuse_misspelt(row, name)
        raise WrongField(f"{name} is missing")
    return read_field(name, row[name])


def _refuse_misspelt(row: Mapping[str, JsonValue], missing: str) -> None:
    """Raises WrongField where another field may be meant for the one that is missing."""
    columns = (name for name in islice(row, _MOST_COLUMNS) if len(name) <= 2 * len(missing))  # none is cached
    meant = next((name for name in columns if _resembles(name, missing)), None)
    if meant is not None:
        raise WrongField(f"{missing} is missing; if {shown(meant)} is meant, call it {missing}")


@lru_cache(maxsize=1024)
def _resembles(name: str, field: str) -> bool:
    if name in FIELDS or name in _NOT_A_PROMPT:
        return False
    instead = _INSTEAD_OF_PROMPT if field == "prompt" else frozenset[str]()
    return name.lower() in instead or bool(get_close_matches(field, [name.lower()], cutoff=0.7))
