"""Whether enough rows are left to train on, by what a quality report counted; torch and tokenizer are not needed.

Training has the last word. What is said here first is what it would say too: equal answers are equal for every
tokenizer, and no usual one makes fewer tokens than there are words.
"""

from oncetune.contracts.quality import QualityReport
from oncetune.contracts.recipe import Hyperparameters
from oncetune.datasets.refusal import DatasetRefused

TOO_MANY = "too_many_rows_left_out"  # the finding that says so
_ROWS_TOLD = 8


def too_many_equal(report: QualityReport, hyperparameters: Hyperparameters) -> DatasetRefused | None:
    """Rows with equal answers alone are more than training may leave out; None as well where nobody counted them."""
    equal = _counted(report, "equal_answers")
    if _may_leave_out(equal, report, hyperparameters):
        return None
    return DatasetRefused(
        "equal_answers",
        f"In {equal:,} of {report.rows:,} rows chosen and rejected are the same, so there is nothing to prefer, and at "
        f"most {hyperparameters.most_left_out} of the rows may be left out: change or remove them" + _named(report),
    )


def too_many_left_out(report: QualityReport, hyperparameters: Hyperparameters) -> DatasetRefused | None:
    """The same together with the rows that are surely too long, by their words."""
    if refused := too_many_equal(report, hyperparameters):
        return refused
    equal, too_long = _counted(report, "equal_answers"), _counted(report, "surely_over_max_length")
    if _may_leave_out(equal + too_long, report, hyperparameters):
        return None
    return DatasetRefused(
        "rows_too_long",
        f"{too_long:,} of {report.rows:,} rows have more words than max_length ({hyperparameters.max_length} tokens) "
        f"allows, {equal:,} others have the same answer twice, and at most {hyperparameters.most_left_out} of "
        "the rows may be left out: shorten or change them, or raise max_length or max_dropped_share" + _named(report),
    )


def perhaps_too_many_left_out(report: QualityReport, hyperparameters: Hyperparameters) -> str | None:
    """A sentence where by the estimated lengths too many are left out, which only the run's tokenizer knows."""
    equal, too_long = _counted(report, "equal_answers"), _counted(report, "over_max_length")
    if _may_leave_out(equal + too_long, report, hyperparameters):
        return None
    return (
        f"A run may refuse it: by an estimate {too_long:,} of {report.rows:,} rows are longer than max_length "
        f"({hyperparameters.max_length} tokens), {equal:,} others have the same answer twice, and at most "
        f"{hyperparameters.most_left_out} may be left out. Only the base model's tokenizer knows."
    )


def _named(report: QualityReport) -> str:
    """The first of the rows that are too many, from 1: those with equal answers where these alone are, else all."""
    found = next((finding for finding in report.findings if finding.code == TOO_MANY), None)
    if found is None:
        return ""
    more = ", …" if found.count > _ROWS_TOLD else ""
    return f" (row{'s' if found.count > 1 else ''} {', '.join(map(str, found.lines[:_ROWS_TOLD]))}{more})"


def _counted(report: QualityReport, what: str) -> int:
    return int(report.numbers.get(f"{what}_rows", 0))


def _may_leave_out(rows: int, report: QualityReport, hyperparameters: Hyperparameters) -> bool:
    return report.rows == 0 or hyperparameters.may_leave_out(rows, report.rows)
