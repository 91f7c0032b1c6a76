"""Pairs that say nothing, and answers that stand in the prompt."""

from collections.abc import Iterator

from oncetune.contracts.quality import Finding
from oncetune.datasets.quality.row import Row, Turn, is_blank, squeezed
from oncetune.datasets.quality.tally import Numbers, Tally, counted
from oncetune.datasets.survey import counted_rows

# Where most pairs differ in nothing but case and white space, that is the lesson (indentation, capitals); where few do,
# they are slips.
LESSON_SHARE = 0.5
REPEATED_CHARACTERS = 12  # a shorter question ("Why?") begins an answer by chance
COPIED_CHARACTERS = 40  # a shorter answer ("Yes", a name) stands in a prompt by right: it was to be picked from there
COPIED_SHARE = 0.1  # above it the set teaches to copy; below it are quotations
FEWEST_ROWS = 50  # by experience: with fewer, an adapter learns the rows and not what is preferred in them


class Answers:
    """Compares the two answers of each row with one another and with the prompt."""

    def __init__(self) -> None:
        self._blank, self._equal, self._alike = Tally(), Tally(), Tally()
        self._repeats, self._copied = Tally(), Tally()

    def see(self, row: Row) -> None:
        turns = (row.prompt_turns, row.chosen_turns, row.rejected_turns)
        if not all(turns) or any(is_blank(turn.content) for part in turns for turn in part):
            self._blank.add(row.line)
            return
        if _stripped(row.chosen_turns) == _stripped(row.rejected_turns):
            self._equal.add(row.line, row.chosen)
        elif _first(row.chosen) == _first(row.rejected) and squeezed(row.chosen) == squeezed(row.rejected):
            self._alike.add(row.line, f"{row.chosen[:80]} | {row.rejected[:80]}")
        self._see_prompt(row)

    def _see_prompt(self, row: Row) -> None:
        question = row.question.strip()
        if len(question) >= REPEATED_CHARACTERS and any(
            answer.lstrip().startswith(question) for answer in (row.chosen, row.rejected)
        ):
            self._repeats.add(row.line)
        chosen, rejected = row.chosen.strip(), row.rejected.strip()
        if len(chosen) >= COPIED_CHARACTERS and chosen in row.prompt and rejected not in row.prompt:
            self._copied.add(row.line, chosen)

    def findings(self, rows: int) -> Iterator[Finding]:
        yield from self._blank.finding(
            "blank_turns",
            "error",
            f"{counted(self._blank.count, rows)} have a turn without a visible sign (empty, white space, zero-width or "
            "control characters): fill or remove them",
        )
        yield from self._equal.finding(
            "equal_answers",
            "error",
            f"{counted(self._equal.count, rows)} have the same answer as chosen and as rejected, so there is nothing "
            "to prefer, and training leaves out what its tokenizer reads alike: change or remove them",
        )
        lesson = self._alike.share(rows) >= LESSON_SHARE
        yield from self._alike.finding(
            "equal_but_for_case_or_space",
            "warning" if lesson else "error",
            f"in {counted(self._alike.count, rows)} chosen and rejected differ only in case or white space: "
            + ("fine if that is what is taught" if lesson else "remove them, or teach it in most of the rows"),
        )
        yield from self._repeats.finding(
            "answer_repeats_prompt",
            "warning",
            f"in {counted(self._repeats.count, rows)} an answer begins with the prompt's last turn: the model would "
            "learn to repeat the question; leave the prompt out of the answers",
        )
        yield from self._copied.finding(
            "chosen_stands_in_prompt",
            "warning" if self._copied.share(rows) > COPIED_SHARE else "info",
            f"in {counted(self._copied.count, rows)} the chosen answer stands in the prompt word for word and the "
            "rejected one does not: right for extracts and quotations, a leak otherwise",
        )
        if rows < FEWEST_ROWS:
            few = (
                f"the set has {counted_rows(rows)}: below {FEWEST_ROWS} it is learned by heart; good enough for a trial"
            )
            yield Finding(code="few_rows", level="warning", count=rows, message=few)

    def numbers(self, _rows: int) -> Numbers:
        return {}


def _first(text: str) -> str:
    """What `squeezed` begins with: most answers are told apart by it."""
    return text.lstrip()[:1].casefold()[:1]


def _stripped(turns: tuple[Turn, ...]) -> list[tuple[str, str]]:
    return [(turn.role, turn.content.strip()) for turn in turns]
