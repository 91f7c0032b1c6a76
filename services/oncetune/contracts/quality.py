"""What is said of a dataset before a GPU is used: findings, each with its count, its lines and an example."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

QualityGate = Literal["off", "warn", "block"]  # off: no report; block: an `error` among the findings fails the run
STRICTER: tuple[QualityGate, ...] = ("off", "warn", "block")  # each than those before it
Level = Literal["info", "warning", "error"]
LINES_KEPT = 20  # of each finding
EXAMPLE_CHARACTERS = 200

Line = Annotated[int, Field(ge=1)]  # of the dataset's canonical JSONL, from 1: line N is row N


class Finding(BaseModel):
    """One kind of thing that was seen, however often."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
    level: Level
    count: Annotated[int, Field(ge=1)]  # rows
    message: str  # a sentence: what was seen, against which limit, what to do
    lines: tuple[Line, ...] = ()  # the first LINES_KEPT
    example: str | None = None  # text of the dataset, at most EXAMPLE_CHARACTERS: never in an event or a log line


class QualityReport(BaseModel):
    """The findings on a dataset, the gravest first, and what was counted on the way."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    rows: Annotated[int, Field(ge=0)]
    findings: tuple[Finding, ...] = ()
    numbers: dict[str, float | int] = {}  # means, medians, shares: chosen_characters_median, languages_en, …

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What `block` refuses."""
        return tuple(finding for finding in self.findings if finding.level == "error")
