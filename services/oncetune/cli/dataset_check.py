"""`oncetune dataset check`: what a run would make of a dataset, without a server and without torch."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import JsonValue

from oncetune.cli.dataset_files import decoded
from oncetune.cli.exits import Failure
from oncetune.cli.output import columns, print_json, put
from oncetune.contracts.quality import Finding, QualityGate, QualityReport
from oncetune.contracts.recipe import Hyperparameters
from oncetune.datasets.enough_rows import perhaps_too_many_left_out, too_many_left_out
from oncetune.datasets.packing import PackedFile, pack_file
from oncetune.datasets.quality import count_left_out, examine
from oncetune.datasets.refusal import DatasetRefused
from oncetune.datasets.survey import counted_rows

_LONGEST_TOLD = 3
_ROWS_TOLD = 8


@dataclass(frozen=True)
class Check:
    """What the command line asks for."""

    file: str
    max_bytes: int  # decoded
    gate: QualityGate
    hyperparameters: Hyperparameters


@dataclass(frozen=True)
class Findings:
    """What was found in a dataset whose rows can be read. `longest`: row (from 1) and bytes of its canonical JSONL."""

    packed: PackedFile
    longest: list[tuple[int, int]]
    quality: QualityReport  # where the gate is off, only of what training leaves out


def check_dataset(check: Check, *, as_json: bool) -> None:
    """Print what was found; raises Failure when a run would refuse the dataset."""
    try:
        found = _look(check)
    except DatasetRefused as refused:
        if as_json:
            print_json({"ok": False, "refusal": {"code": refused.code, "message": refused.message}})
        raise Failure(f"{check.file} would be refused: {refused}") from refused
    refusal = _refused(check, found)
    if as_json:
        why = {"code": refusal.code, "message": refusal.message} if refusal else None
        print_json({"ok": not refusal, "refusal": why, **_document(check, found)})
    else:
        for line in _lines(check, found):
            put(line)
    if refusal:
        raise Failure(f"{check.file} would be refused: {refusal}")


def _look(check: Check) -> Findings:
    with (
        decoded(check.file, max_bytes=check.max_bytes) as plain,
        TemporaryDirectory(prefix="oncetune-") as folder,
    ):
        canonical = Path(folder) / "dataset.jsonl"
        packed = pack_file(plain, canonical, Path(folder) / "packed")
        with canonical.open("rb") as lines:
            sizes = ((len(line), -number) for number, line in enumerate(lines, 1))
            longest = [(-number, size) for size, number in heapq.nlargest(_LONGEST_TOLD, sizes)]
        look = count_left_out if check.gate == "off" else examine
        quality = look(canonical, hyperparameters=check.hyperparameters)
    return Findings(packed, longest, quality)


def _refused(check: Check, found: Findings) -> DatasetRefused | None:
    """What the gate blocks; and, whatever the gate, a set of which a training may not leave out so much.

    Where only an estimate says so it is a note: this command cannot know, and a set is not refused for a guess.
    """
    errors = found.quality.errors if check.gate == "block" else ()
    if errors:
        codes = ", ".join(error.code for error in errors)
        return DatasetRefused("dataset_quality", f"its quality has errors: {codes}")
    return too_many_left_out(found.quality, check.hyperparameters)


def _notes(check: Check, found: Findings) -> tuple[str, ...]:
    sentence = None if _refused(check, found) else perhaps_too_many_left_out(found.quality, check.hyperparameters)
    return (*found.packed.notes, sentence) if sentence else found.packed.notes


def _document(check: Check, found: Findings) -> dict[str, JsonValue]:
    packed = found.packed
    return {
        "format": packed.format,
        "rows": packed.row_count,
        "bytes": packed.byte_count,
        "sha256": packed.sha256,
        "set_sha256": packed.set_sha256,
        "longest": [{"row": row, "bytes": size} for row, size in found.longest],
        "notes": list(_notes(check, found)),
        "quality": None if check.gate == "off" else found.quality.model_dump(mode="json"),
    }


def _lines(check: Check, found: Findings) -> list[str]:
    packed = found.packed
    facts = [
        ("format", packed.format),
        ("rows", str(packed.row_count)),
        ("bytes", f"{packed.byte_count} as canonical JSONL"),
        ("sha256", packed.sha256),
        ("set_sha256", f"{packed.set_sha256} in any order of the rows"),
        ("longest", ", ".join(f"row {row} ({size} bytes)" for row, size in found.longest)),
        *(("note", note) for note in _notes(check, found)),
    ]
    if check.gate == "off":
        return columns([*facts, ("quality", "not looked at: the gate is off")])
    told = [line for finding in found.quality.findings for line in _told(finding)]
    return [*columns([*facts, ("quality", f"findings: {len(found.quality.findings)}")]), *told]


def _told(finding: Finding) -> list[str]:
    where = f" {_places(finding.lines, finding.count)}" if finding.lines else ""
    return [f"  {finding.level}: {finding.code}, {counted_rows(finding.count)}{where}", f"    {finding.message}"]


def _places(rows: Sequence[int], count: int) -> str:
    more = ", …" if count > _ROWS_TOLD else ""
    return f"(row{'s' if count > 1 else ''} {', '.join(map(str, rows[:_ROWS_TOLD]))}{more})"
