"""`oncetune runs dataset`: what a run learned from, in words, as JSON, or as a file."""

import base64
import binascii
import hashlib
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from oncetune.cli.client import Client, objects
from oncetune.cli.exits import Exit, Failure
from oncetune.cli.output import columns, print_json, put, tell
from oncetune.contracts.names import shown
from oncetune.contracts.quality import EXAMPLE_CHARACTERS

DOWNLOAD = "/api/datasets/download"
_LEVELS = {"error": ("error", "errors"), "warning": ("warning", "warnings"), "info": ("note", "notes")}
_LINES_SHOWN = 8
_SHORT = 12  # characters of a fingerprint that a person compares


def show_dataset(client: Client, run_id: str, *, as_json: bool) -> None:
    """Print what is known of the run's rows, and each finding on their quality."""
    told = client.get(f"/runs/{run_id}/dataset")
    if as_json:
        print_json(told)
        return
    for line in columns(_facts(told)):
        put(line)
    quality = told.get("quality")
    findings = objects(quality.get("findings")) if isinstance(quality, dict) else []
    for line in _finding_lines(findings):
        put(line)


def _facts(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [("source", f"{told.get('source')} {told.get('url', '')}".strip())]
    if "format" in told:
        facts.append(("format", str(told["format"])))
    facts += [("note", str(note)) for note in told.get("notes", ())]
    if "rows" not in told:
        return [*facts, ("rows", "not stored")]
    facts.append(("rows", f"{told['rows']} ({told.get('bytes')} bytes as canonical JSONL)"))
    facts.append(("sha256", f"{told.get('sha256')}  these rows in this order"))
    if "set_sha256" in told:
        facts.append(("set", f"{told['set_sha256']}  these rows in any order"))
    if "trained_before" in told:
        facts.append(("trained before", ", ".join(map(str, told["trained_before"])) or "never"))
    return [*facts, ("quality", quality_words(told.get("quality")))]


def quality_words(report: object) -> str:
    """`1 error, 2 warnings`: how many findings there are of each level."""
    if not isinstance(report, dict):
        return "not looked at"
    counts = Counter(str(finding.get("level")) for finding in objects(report.get("findings")))
    words = [f"{counts[level]} {names[counts[level] > 1]}" for level, names in _LEVELS.items() if counts[level]]
    return ", ".join(words) or "nothing found"


def dataset_words(told: Mapping[str, Any]) -> str:
    """`1200 rows 5e5e5e5e5e5e (text), trained before in 0199…`"""
    words = f"{told.get('rows')} rows {str(told.get('sha256'))[:_SHORT]}" if "rows" in told else "not stored"
    if "format" in told:
        words += f" ({told['format']})"
    before = told.get("trained_before")
    return f"{words}, trained before in {before[0]}" if isinstance(before, list) and before else words


def _finding_lines(findings: list[dict[str, Any]]) -> list[str]:
    """A heading, and for each finding its row, its sentence and an example."""
    if not findings:
        return []
    rows = [(str(one.get("level")), str(one.get("code")), str(one.get("count")), _places(one)) for one in findings]
    heading, *table = columns([("LEVEL", "FINDING", "COUNT", "ROWS"), *rows])
    lines = ["", heading]
    for row, finding in zip(table, findings, strict=True):
        lines += [row, f"    {finding.get('message')}"]
        if finding.get("example"):
            lines.append(f"    for example: {shown(str(finding['example']), EXAMPLE_CHARACTERS)}")
    return lines


def _places(finding: Mapping[str, Any]) -> str:
    lines = finding.get("lines")
    if not isinstance(lines, list) or not lines:
        return ""
    more = ", …" if len(lines) > _LINES_SHOWN or int(finding.get("count", 0)) > len(lines) else ""
    return ", ".join(map(str, lines[:_LINES_SHOWN])) + more


def download_dataset(client: Client, run_id: str, file: Path) -> None:
    """The run's rows as a file of JSON lines, there whole or not at all; raises Failure."""
    arriving = file.with_name(f"{file.name}.part")
    digest = hashlib.sha256()
    try:
        with arriving.open("wb") as rows:  # before a token is issued for nothing
            token = client.post(f"/runs/{run_id}/dataset-token", b"", {})[0].get("token")
            with client.stream(DOWNLOAD, token=str(token)) as answer:
                for piece in answer.iter_bytes():
                    digest.update(piece)
                    rows.write(piece)
        if digest.digest() != _promised(answer.headers.get("repr-digest", "")):
            raise Failure("The rows are not those that the server promised.", "Download them again.")
        arriving.replace(file)
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error.strerror}", code=Exit.USAGE) from error
    finally:
        with suppress(OSError):  # the folder may be none
            arriving.unlink()
    tell(f"{file} has the rows: SHA-256 {digest.hexdigest()}")


def _promised(header: str) -> bytes:
    """The SHA-256 of a Repr-Digest; empty when there is none."""
    try:
        return base64.b64decode(header.partition("sha-256=:")[2].partition(":")[0])
    except binascii.Error:
        return b""
