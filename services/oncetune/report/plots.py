"""The plots: inline SVG whose colours are the page's own variables, so that they follow light, dark and print."""

import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from oncetune.contracts.training_record import StepRecord, TrainingRecord
from oncetune.report.thinning import Point, running_mean, some_of, thin
from oncetune.report.words import change, number, percent, tick

_SIZE = 5.4, 2.7  # inches of 72 points
_COLUMNS = 500  # of a plot: a screen shows no more
_WINDOWS = 20  # of the running mean in a whole run
_TABLE_ROWS = 24
# Colours that the page replaces: matplotlib wants them as numbers.
_TRAINING, _HELD_OUT, _START, _TEXT, _LINE = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {_TRAINING: "training", _HELD_OUT: "held-out", _START: "start", _TEXT: "muted", _LINE: "line"}
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: measured the same everywhere, shown in the page's font
    "font.size": 9.5,
    "svg.fonttype": "none",
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _TEXT,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": _LINE,
    "grid.linewidth": 0.7,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
}


@dataclass(frozen=True)
class Plot:
    """One plot and the table that says the same; `legend` pairs a line's CSS class with its name."""

    name: str
    title: str
    unit: str
    summary: str  # a sentence for who cannot see it
    svg: Markup
    legend: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class _Series:
    """What is drawn: the training's own line, points of the held-out rows, a level to hold them against."""

    name: str
    title: str
    unit: str
    said: Callable[[float | None], str]
    line: Sequence[Point]
    points: Sequence[Point] = ()
    start: float | None = None
    smooth: bool = True
    limits: tuple[float, float] | None = None
    ticks: Callable[[float], str] = tick


def draw_plots(record: TrainingRecord) -> tuple[Plot, ...]:
    """Those of which anything was measured. Equal records make equal bytes."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        return tuple(_plot(series) for series in _series_of(record) if series.line or series.points)


def _series_of(record: TrainingRecord) -> Iterable[_Series]:
    steps, held_out = record.steps, record.evaluations

    def of(name: str) -> list[Point]:
        return _measured((step.step, getattr(step, name)) for step in steps)

    def at(name: str) -> list[Point]:
        return _measured((evaluation.step, getattr(evaluation, name)) for evaluation in held_out)

    chosen = at("logps_chosen")
    start = chosen[0][1] if chosen and chosen[0][0] == 0 else None
    whole = (-0.04, 1.04)
    yield _Series("loss", "Loss", "", number, of("loss"))
    yield _Series("margin", "Reward margin", "chosen minus rejected", change, of("reward_margin"), at("reward_margin"))
    yield _Series(
        "accuracy", "Reward accuracy", "share of pairs with chosen ahead", percent, of("reward_accuracy"),
        at("reward_accuracy"), limits=whole, ticks=percent,
    )  # fmt: skip
    yield _Series(
        "logps", "Log-probability of chosen", "nats, summed over an answer", number, of("logps_chosen"), chosen, start
    )
    yield _Series("rate", "Learning rate", "", number, of("learning_rate"), smooth=False)
    yield _Series("speed", "Speed", "tokens a second", number, _speeds(steps))


def _measured(points: Iterable[tuple[int, float | None]]) -> list[Point]:
    return [(float(step), value) for step, value in points if value is not None]


def _speeds(steps: Sequence[StepRecord]) -> list[Point]:
    speeds, tokens, seconds = [], 0, 0.0
    for step in steps:
        if step.tokens > tokens and step.seconds > seconds:
            speeds.append((float(step.step), (step.tokens - tokens) / (step.seconds - seconds)))
        tokens, seconds = step.tokens, step.seconds
    return speeds


def _plot(series: _Series) -> Plot:
    figure = Figure(figsize=_SIZE)
    FigureCanvasSVG(figure)
    axes = figure.add_axes((0.105, 0.14, 0.885, 0.83))
    legend = list(_draw(axes, series))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: series.ticks(value)))
    axes.set_xlabel("optimizer step", fontsize=8.5, labelpad=3)
    if series.limits:
        axes.set_ylim(*series.limits)
    columns, rows = _table(series)
    summary = _summary(series)
    return Plot(
        series.name, series.title, series.unit, summary, _svg(figure, series.name), tuple(legend), columns, rows
    )


def _draw(axes: Axes, series: _Series) -> Iterable[tuple[str, str]]:
    """Yields what goes into the legend."""
    width = len(series.line) // _WINDOWS
    if series.start is not None:
        axes.axhline(series.start, color=_START, linewidth=1.2, linestyle=(0, (4, 3)))
    smoothed = series.smooth and width > 1
    if series.line:
        alpha, line_width = (0.28, 0.8) if smoothed else (1.0, 1.6)
        marker = "o" if len(series.line) == 1 else ""
        points = _xy(thin(series.line, _COLUMNS))
        axes.plot(*points, color=_TRAINING, alpha=alpha, linewidth=line_width, marker=marker, markersize=4)
        yield "training", f"training, mean over {width} steps; faint: each step" if smoothed else "training"
    if smoothed:
        axes.plot(*_xy(thin(running_mean(series.line, width), _COLUMNS)), color=_TRAINING, linewidth=1.8)
    if series.points:
        axes.plot(*_xy(thin(series.points, _COLUMNS // 4)), color=_HELD_OUT, linewidth=1.4, marker="o", markersize=4.5)
        yield "held-out", "held-out rows"
    if series.start is not None:
        yield "start", "their start"


def _xy(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [step for step, _ in points], [value for _, value in points]


def _table(series: _Series) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    lines, points = dict(series.line), dict(series.points)
    kept = (*some_of(series.line, _TABLE_ROWS), *some_of(series.points, _TABLE_ROWS))
    shown = sorted({step for step, _ in kept})
    if not points:
        return ("step", "training"), tuple((number(step), series.said(lines.get(step))) for step in shown)
    rows = ((number(step), series.said(lines.get(step)), series.said(points.get(step))) for step in shown)
    return ("step", "training", "held-out"), tuple(rows)


def _summary(series: _Series) -> str:
    said = [
        f"{name} from {series.said(points[0][1])} at step {number(points[0][0])} "
        f"to {series.said(points[-1][1])} at step {number(points[-1][0])}"
        for name, points in (("training", series.line), ("held-out rows", series.points))
        if points
    ]
    return f"{series.title}: {'; '.join(said)}."


def _svg(figure: Figure, name: str) -> Markup:
    """To be put into a page: no prologue, no style, ids of its own, the page's colours and font."""
    drawn = io.StringIO()
    mpl.rcParams["svg.hashsalt"] = name
    figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    svg = drawn.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style).*?</\1>\s*|<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r'<svg [^>]*viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true" focusable="false">', svg, count=1
    )
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(url\(|href=")#', rf"\1#{name}-", svg).replace("xlink:href", "href")
    svg = re.sub(r"font(-family)?: [^;\"]*;?", lambda found: _font(found[0]), svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return Markup(svg)  # noqa: S704  # numbers and our own words


def _font(declared: str) -> str:
    """Its size; the page says the family."""
    points = re.search(r"[\d.]+px", declared)
    return f"font-size: {points[0]};" if points else ""
