"""Fewer points of a long series without losing what a reader would see: its peaks."""

from collections.abc import Sequence
from statistics import fmean
from typing import TypeVar

Point = tuple[float, float]
T = TypeVar("T")


def thin(points: Sequence[Point], columns: int) -> list[Point]:
    """At most twice `columns` points: of each column of the plot the lowest and the highest, in their order."""
    if len(points) <= 2 * columns:
        return list(points)
    kept: list[Point] = []
    for column in range(columns):
        part = points[column * len(points) // columns : (column + 1) * len(points) // columns]
        extremes = {min(part, key=_height), max(part, key=_height)}
        kept += sorted(extremes)
    return kept


def running_mean(points: Sequence[Point], width: int) -> list[Point]:
    """The mean of each point and the `width - 1` before it; fewer at the beginning."""
    total, means = 0.0, []
    for index, (place, height) in enumerate(points):
        total += height - (points[index - width][1] if index >= width else 0.0)
        means.append((place, total / min(index + 1, width)))
    return means


def some_of(rows: Sequence[T], limit: int) -> list[T]:
    """At most `limit` of them, evenly spread, the first and the last among them."""
    if len(rows) <= limit:
        return list(rows)
    return [rows[round(place * (len(rows) - 1) / (limit - 1))] for place in range(limit)]


def last_mean(heights: Sequence[float | None], count: int) -> float | None:
    """The mean of the last `count` that were measured; None when none was."""
    measured = [height for height in heights if height is not None][-count:]
    return fmean(measured) if measured else None


def _height(point: Point) -> float:
    return point[1]
