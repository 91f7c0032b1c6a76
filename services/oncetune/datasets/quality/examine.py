"""The walk over the rows: each one is shown to every check, then each check tells what it found."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from oncetune.contracts.quality import Finding, Level, QualityReport
from oncetune.contracts.recipe import Hyperparameters
from oncetune.datasets.quality.answers import Answers
from oncetune.datasets.quality.encodings import Encodings
from oncetune.datasets.quality.formats import Formats
from oncetune.datasets.quality.held_out import HeldOut
from oncetune.datasets.quality.left_out import LeftOut
from oncetune.datasets.quality.lengths import Lengths
from oncetune.datasets.quality.neighbours import Neighbours
from oncetune.datasets.quality.repeats import Repeats
from oncetune.datasets.quality.row import Row, shown
from oncetune.datasets.quality.scripts import Scripts
from oncetune.datasets.quality.tally import Check, Numbers
from oncetune.datasets.quality.turns import Turns

GRAVITY: tuple[Level, ...] = ("error", "warning", "info")
WITHOUT_EXAMPLE = {"secrets", "few_rows", "no_held_out_rows"}  # nothing to show, or nothing to be shown
PART_CHARACTERS = 64  # of the prompt and of each answer, where an example shows all three


def examine(path: Path, *, hyperparameters: Hyperparameters) -> QualityReport:
    """The report on a canonical JSONL file (UTF-8, one PreferencePair a line, sorted keys), the gravest finding first.

    The same file and hyperparameters give the same report, in any process. OSError and ValueError are raised where the
    file cannot be read or is not JSON; any pair, however odd, is only a finding. Memory: at most a kilobyte a row and
    ten times the longest row. The messages hold no text of the dataset; the examples do.
    """
    neighbours = Neighbours()
    checks: list[Check] = [
        Answers(),
        Turns(),
        Repeats(),
        neighbours,
        LeftOut(hyperparameters),
        Lengths(),
        Formats(),
        Scripts(),
        Encodings(),
        HeldOut(hyperparameters, neighbours),
    ]
    return _report(path, checks)


def count_left_out(path: Path, *, hyperparameters: Hyperparameters) -> QualityReport:
    """Only what training leaves out and whether it may, which no gate turns off; else as `examine`."""
    return _report(path, [LeftOut(hyperparameters)])


def _report(path: Path, checks: list[Check]) -> QualityReport:
    rows = _walk(path, checks)
    findings: list[Finding] = []
    numbers: Numbers = {}
    for check in checks if rows else ():
        findings += check.findings(rows)
        numbers |= check.numbers(rows)
    findings.sort(key=lambda found: (GRAVITY.index(found.level), -found.count, found.code))
    return QualityReport(rows=rows, findings=tuple(_with_examples(path, findings)), numbers=numbers)


def _walk(path: Path, checks: Iterable[Check]) -> int:
    line = 0
    with path.open("rb") as lines:
        for line, jsonl in enumerate(lines, 1):
            row = Row(line, jsonl)
            for check in checks:
                check.see(row)
    return line


def _with_examples(path: Path, findings: list[Finding]) -> Iterable[Finding]:
    """Where a check knew only the line, the beginning of the row's prompt and answers is the example."""
    bare = {found.code: found.lines[0] for found in findings if found.lines and found.example is None}
    wanted = {line for code, line in bare.items() if code not in WITHOUT_EXAMPLE}
    examples: dict[int, str] = {}
    if wanted:
        with path.open("rb") as lines:
            for line, jsonl in enumerate(islice(lines, max(wanted)), 1):
                if line in wanted:
                    examples[line] = _shown_row(Row(line, jsonl))
    for found in findings:
        line = found.lines[0] if found.lines else 0
        shown_here = found.code not in WITHOUT_EXAMPLE and found.example is None and line in examples
        yield found.model_copy(update={"example": examples[line]}) if shown_here else found


def _shown_row(row: Row) -> str:
    return shown(" | ".join(text.strip()[:PART_CHARACTERS] for text in row.texts))
