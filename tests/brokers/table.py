"""The table of components/README.md: which broker keeps which promise. The suite believes nothing else."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "components/README.md"
KEPT, HEALED = "kept", "healed by the relay"


def promises() -> dict[str, dict[str, str]]:
    """For each promise, what is said of each broker."""
    section = README.read_text().split("## What each broker promises")[1].split("\n## ")[0]
    header, _, *lines = [_cells(line) for line in section.splitlines() if line.startswith("|")]
    return {promise: dict(zip(header[1:], cells, strict=True)) for promise, *cells in lines}


def cell(promise: str, broker: str) -> str:
    """`kept` or `healed by the relay`."""
    return promises()[promise][broker]


def _cells(line: str) -> list[str]:
    return [re.sub(r"[`¹²³⁴]", "", word).strip() for word in line.strip("|\n").split("|")]
