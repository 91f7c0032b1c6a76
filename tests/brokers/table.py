"""The tables of components/README.md: which broker keeps which promise, and what a sidecar says that cannot start."""

from collections.abc import Mapping
from pathlib import Path

README = Path(__file__).parents[2] / "components/README.md"
KEPT, LATE, HEALED = "kept", "kept, late", "healed by the relay"
WORDS = KEPT, LATE, HEALED
BROKERS = "redis", "rabbitmq", "jetstream", "kafka"


def promises() -> dict[str, dict[str, str]]:
    """For each promise, what is said of each broker: one of WORDS."""
    return _table("## What each broker promises")


def cell(promise: str, broker: str) -> str:
    """What the table says of this promise."""
    return promises()[promise][broker]


def last_words(case: str, broker: str) -> str:
    """Of a sidecar with this broker in this case."""
    return _table("## When it does not start")[broker][case].strip("`")


def _table(heading: str) -> dict[str, dict[str, str]]:
    """The rows below a heading by their first cell, the others by their column."""
    section = README.read_text().split(heading)[1].split("\n## ")[0]
    header, _, *lines = [
        [word.strip() for word in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")
    ]
    return {first: dict(zip(header[1:], cells, strict=True)) for first, *cells in lines}


def written(cells: Mapping[str, Mapping[str, str]]) -> str:
    """A table of promises as it stands in the README."""
    lines = [("promise", *BROKERS), ("---",) * (1 + len(BROKERS))]
    lines += [(promise, *(of.get(name, "not run") for name in BROKERS)) for promise, of in cells.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
