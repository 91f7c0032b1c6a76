"""Rows of every format that say the same."""

import gzip
import io
import json
from collections.abc import Iterable
from typing import Any

from oncetune.contracts.preferences import PreferencePair
from oncetune.datasets.reading import read_pairs
from oncetune.datasets.rows import validate_rows
from oncetune.datasets.survey import Survey

Row = dict[str, Any]


def turn(role: str, content: str) -> Row:
    return {"role": role, "content": content}


USER, SYSTEM = turn("user", "What is 1 + 1?"), turn("system", "Be brief.")
TWO, THREE = turn("assistant", "Two."), turn("assistant", "Three.")
TEXT: Row = {"prompt": "What is 1 + 1?", "chosen": "Two.", "rejected": "Three."}
MESSAGES: Row = {"prompt": [SYSTEM, USER], "chosen": [TWO], "rejected": [THREE]}
OPENAI: Row = {
    "input": {"messages": [SYSTEM, USER], "tools": [], "parallel_tool_calls": True},
    "preferred_output": [TWO],
    "non_preferred_output": [THREE],
}
OLDER_OPENAI: Row = {
    "input": {"messages": [turn("developer", "Be brief."), USER]},
    "preferred_completion": [{**TWO, "tool_calls": None, "refusal": None}],
    "non_preferred_completion": [THREE],
}
WHOLE: Row = {"chosen": [SYSTEM, USER, TWO], "rejected": [SYSTEM, USER, THREE]}
ULTRAFEEDBACK: Row = {"prompt": "What is 1 + 1?", **WHOLE}
PROMPT_TOO: Row = {"prompt": [SYSTEM, USER], **WHOLE}


def jsonl(rows: Iterable[object]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def array(rows: Iterable[object]) -> bytes:
    return json.dumps(list(rows), ensure_ascii=False, indent=2).encode()


def gzipped(rows: Iterable[object]) -> bytes:
    return gzip.compress(jsonl(rows))


def read(content: bytes, survey: Survey | None = None) -> list[PreferencePair]:
    """What a file with this content holds."""
    stream = io.BufferedReader(io.BytesIO(content))  # type: ignore[arg-type]  # a raw stream too, in all but name
    return list(read_pairs(stream, Survey() if survey is None else survey))


def only(row: Row) -> tuple[Row, str]:
    """The row's pair as plain JSON, and its format, inline; a file says the same."""
    survey, of_file = Survey(), Survey()
    [pair] = validate_rows([row], survey=survey)
    assert read(jsonl([row]), of_file) == [pair]
    assert of_file == survey
    return pair.model_dump(mode="json"), survey.format
