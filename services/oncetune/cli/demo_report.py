"""What the demo tells at its end, and whether it kept its promises."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

from oncetune.cli.client import Document
from oncetune.cli.output import put
from oncetune.cli.reading import trail_lines

SHOWN = 3  # prompts
VISIBLE = 0.5  # of the held-out prompts must have changed for the better


@dataclass(frozen=True)
class Outcome:
    """Everything that was seen: the run and its trail, and both models' answers to the held-out prompts."""

    run: Document
    trail: Document
    adapter: Path | None
    adapters: int  # in the artifacts' folder
    copies: int  # of run.requested that were delivered on purpose
    runs_in_ledger: int
    replay_is_same: bool
    prompts: Sequence[str]
    base: Sequence[str]
    tuned: Sequence[str]
    polite: Callable[[str], bool]

    @property
    def report(self) -> Path | None:
        """The page that tells of the run; beside the adapter."""
        page = self.adapter and self.adapter.with_name("report.html")
        return page if page and page.is_file() else None

    def share(self, answers: Sequence[str]) -> float:
        """The share of polite answers, 0 to 1."""
        return sum(map(self.polite, answers)) / max(1, len(answers))

    def promises(self) -> list[tuple[bool, str]]:
        """Each promise with whether it was kept."""
        events = self.trail.get("events")
        count = len(events) if isinstance(events, list) else 0
        dropped = self.trail.get("duplicates")
        before, after = self.share(self.base), self.share(self.tuned)
        return [
            (self.run.get("status") == "completed", "the run completed"),
            (self.runs_in_ledger == 1, f"the ledger holds {self.runs_in_ledger} run for 2 requests"),
            (self.replay_is_same, "the repeated request was answered with the same run"),
            (isinstance(dropped, int) and dropped >= self.copies, f"{dropped} duplicate deliveries were dropped"),
            (
                self.trail.get("gapless") is True and self.trail.get("pending") == 0,
                f"the audit trail is whole: positions 1 to {count}, none missing",
            ),
            (after - before >= VISIBLE, f"polite answers went from {before:.0%} to {after:.0%}"),
            (self.adapter is not None and self.adapters == 1, f"there is {self.adapters} adapter"),
            (self.report is not None, "there is a report of the run"),
        ]


def report(outcome: Outcome, *, seconds: float) -> bool:
    """Print all of it; True when every promise was kept."""
    _print_answers(outcome)
    put("\nThe run's audit trail\n")
    for line in trail_lines(outcome.trail):
        put(f"  {line}")
    put("\nPromises\n")
    promises = outcome.promises()
    for kept, words in promises:
        put(f"  {'kept    ' if kept else 'NOT KEPT'}  {words}")
    error = outcome.run.get("error")
    if error:
        put(f"\nThe run's error: {error}")
    put(f"\nThe adapter: {outcome.adapter}")
    put(f"The report, for a browser: {outcome.report}")
    put(f"Done in {seconds:.0f} s. Nothing of it is running any more; `oncetune up` keeps it up.")
    return all(kept for kept, _ in promises)


def _print_answers(outcome: Outcome) -> None:
    if not outcome.prompts:
        return
    put("\nHeld-out prompts, before and after\n")
    answers = list(zip(outcome.prompts, outcome.base, outcome.tuned, strict=True))
    for prompt, base, tuned in answers[:: max(1, len(answers) // SHOWN)][:SHOWN]:
        put(f"  {prompt}")
        put(f"    base   {shorten(base, 150)}")
        put(f"    tuned  {shorten(tuned, 150)}\n")
    before, after = (outcome.share(answers) for answers in (outcome.base, outcome.tuned))
    put(f"  Polite answers to {len(outcome.prompts)} prompts: {before:.0%} before, {after:.0%} after")
