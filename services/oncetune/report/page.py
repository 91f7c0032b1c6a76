"""report.html: one file with everything in it, no script, nothing fetched."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from oncetune.contracts.run_report import RunReport
from oncetune.contracts.training_record import ANSWER_TOKENS, Phase, Sample, TrainingRecord
from oncetune.report import words
from oncetune.report.filling import TEMPLATES, fill, templates
from oncetune.report.plots import draw_plots
from oncetune.report.thinning import last_mean
from oncetune.report.verdict import LAST_STEPS, HeldOut, held_out_of

# Characters of any text, and how many of a kind; all of it is in report.json. At their most, each character written
# as five or six, they are 1.6 MB.
_LONGEST_WORD, _LONGEST_PROMPT, _LONGEST_ANSWER = 400, 1200, 1600
_MOST = {"findings": 40, "samples": 32, "attempts": 50, "phases": 24, "numbers": 60, "settings": 60, "runs": 10}


@dataclass(frozen=True)
class Tile:
    """A key number. `note` says what to hold it against."""

    name: str
    value: str
    note: str = ""


def render_page(report: RunReport) -> str:
    """The whole document. Equal reports make equal text."""
    held_out = held_out_of(report.training)
    return fill(
        templates(autoescape=True, finalize=_plain, prompt=_prompt, answer=_answer),
        "report.html",
        report,
        most=_MOST,
        tiles=list(_tiles(report, held_out)),
        plots=draw_plots(report.training),
        answer_tokens=ANSWER_TOKENS,
        phases=_shares(report.phases or report.training.phases),
        css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),  # noqa: S704  # our own file
    )


def _plain(said: Any) -> Any:
    """Whatever a template says, cut and without what changes the text around it; markup of our own passes."""
    return said if isinstance(said, Markup) or not isinstance(said, str) else words.cut(said, _LONGEST_WORD)


def _prompt(sample: Sample) -> Markup:
    return Markup(Markup.escape(words.cut(sample.prompt, _LONGEST_PROMPT)))  # noqa: S704  # escaped here


def _answer(text: str) -> Markup:
    return Markup(Markup.escape(words.cut(text, _LONGEST_ANSWER)))  # noqa: S704  # escaped here


def _tiles(report: RunReport, held_out: HeldOut | None) -> Iterable[Tile]:
    record, steps = report.training, report.training.steps
    yield from _learned(record) if held_out is None else _held_out(held_out)
    kept = record.kept_steps
    first, last = (kept[0].loss, kept[-1].loss) if kept else (None, None)
    of = "" if record.adapter_step is None else f"; the adapter is that of step {words.number(record.adapter_step)}"
    yield Tile("Loss", words.number(last), f"first step {words.number(first)}{of}")
    yield Tile("Rows trained on", words.number(record.rows_trained), f"{words.number(record.rows_held_out)} held out")
    tokens = words.number(steps[-1].tokens if steps else 0)
    yield Tile("Steps", words.number(record.last_step), f"{tokens} tokens{of}")
    yield Tile(
        "Training time", words.duration(steps[-1].seconds if steps else None), record.device or record.device_kind
    )
    if report.quality is None:
        off = report.manifest.quality_gate == "off"
        yield Tile(
            "Data findings", words.NOT_MEASURED, "the quality gate was off" if off else "the look at them failed"
        )
    else:
        levels = [finding.level for finding in report.quality.findings]
        grave = f"{words.plural(levels.count('error'), 'error')}, {words.plural(levels.count('warning'), 'warning')}"
        yield Tile("Data findings", words.number(len(levels)), grave)


def _held_out(held_out: HeldOut) -> Iterable[Tile]:
    interval = held_out.interval
    spread = (
        "" if interval is None else f"95\u202f% interval {words.percent(interval[0])} to {words.percent(interval[1])}"
    )
    yield Tile("Held-out accuracy", words.percent(held_out.end.reward_accuracy), spread)
    yield Tile("Held-out margin", words.change(held_out.end.reward_margin), f"{held_out.end.rows} rows, starts at 0")
    rise = None if held_out.fall is None else -held_out.fall
    start, end = held_out.start.logps_chosen_per_token, held_out.end.logps_chosen_per_token
    yield Tile("Chosen, nats a token", words.change(rise), f"{words.number(start)} to {words.number(end)}")


def _learned(record: TrainingRecord) -> Iterable[Tile]:
    last = f"training rows, last {words.plural(min(LAST_STEPS, len(record.steps)), 'step')}"
    yield Tile("Accuracy", words.percent(last_mean([step.reward_accuracy for step in record.steps], LAST_STEPS)), last)
    yield Tile("Margin", words.change(last_mean([step.reward_margin for step in record.steps], LAST_STEPS)), last)
    yield Tile("Chosen, nats", words.number(last_mean([step.logps_chosen for step in record.steps], LAST_STEPS)), last)


def _shares(phases: Iterable[Phase]) -> list[tuple[Phase, str]]:
    """Each with its share of them all, in percent."""
    shown = list(phases)[: _MOST["phases"]]
    whole = sum(phase.seconds for phase in shown) or 1.0
    return [(phase, f"{100 * phase.seconds / whole:.1f}") for phase in shown]
