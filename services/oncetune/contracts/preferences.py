"""One preference row, as text or as chat messages. Trigger validates it, training learns from it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

# As rows arrive: three texts, or turns; OpenAI's `input`, `preferred_output`, `non_preferred_output`; without prompt,
# what chosen and rejected begin with is the prompt; mixed: rows of several formats.
RowFormat = Literal["text", "messages", "openai", "shared_prefix"]
DatasetFormat = RowFormat | Literal["mixed"]

# The pattern is told to callers; trigger's own check names the row and the field.
_NOT_BLANK = r"^[^\x00]*[^\s\x00\x1c-\x1f\x85][^\x00]*$"
Text = Annotated[str, Field(min_length=1, json_schema_extra={"pattern": _NOT_BLANK})]


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    role: Literal["system", "user", "assistant", "tool"]
    content: Text


Turns = Annotated[tuple[Message, ...], Field(min_length=1, strict=False)]


class PreferencePair(BaseModel):
    """`chosen` was preferred over `rejected` as an answer to `prompt`: three texts, or three lists of messages."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    prompt: Text | Turns
    chosen: Text | Turns
    rejected: Text | Turns


@dataclass(frozen=True)
class PackedRows:
    """A dataset as it is stored: canonical JSONL (UTF-8, one PreferencePair a line, sorted keys, newline at the end),
    named by the SHA-256 of those bytes, as one zlib stream in chunks of at most 1 MiB."""

    sha256: str
    row_count: int
    byte_count: int  # of the JSONL
    chunks: Iterable[bytes]  # a tuple, or read once from a file
    set_sha256: str  # of the rows in any order, see datasets/fingerprint.py
    format: DatasetFormat  # as the rows arrived
    notes: tuple[str, ...] = ()  # sentences for a person, without text of the rows, see datasets/survey.py
