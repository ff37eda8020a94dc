"""The axes of a drawing that is text: SVG with classes that a style sheet colours.

They need nothing of the planner, so that a report on a log has them without it.

Source: SVG 2 for the elements; WAI-ARIA Graphics Module for what a screen reader is told.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_numbers,
    require,
    require_positive_integer,
    require_work,
)

WIDTH = 360.0  # of a plot, and of what is within its axes, in the units of its own text of 12
LEFT, RIGHT = 46.0, 348.0
PANEL = 150.0  # height within the axes
ABOVE, BELOW = 24.0, 40.0  # room for a panel's title, and for the labels of its axis
LOG_FROM = 6.0  # an axis is logarithmic where its values differ by more


@dataclass(frozen=True)
class Plot:
    """A drawing with the sentence below it, and its numbers as rows with a header, under a title.

    >>> Plot("Fleets", "<svg/>", "What it shows.", [["replicas"], ["4"]]).rows[1]
    ['4']
    """

    title: str
    svg: str
    caption: str
    rows: list[list[str]]


@dataclass(frozen=True)
class Axis:
    """Values from low to high, in even steps or in even factors.

    >>> round(Axis(0.1, 10.0, log=True).share(1.0), 9)
    0.5
    """

    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value lies between both ends, 0 to 1."""
        low, high, at = (
            (math.log(end) if self.log else end) for end in (self.low, self.high, value)
        )
        return (at - low) / (high - low)


def axis_over(values: Iterable[float]) -> Axis:
    """An axis with some room around values: from zero, or logarithmic where they differ much.

    values: positive and finite, one or more. Raises ValueError otherwise.

    >>> axis_over([1.0, 2.0]), axis_over([0.1, 9.0]).log
    (Axis(low=0.0, high=2.3, log=False), True)
    """
    found = as_numbers(values=list(values))
    fine = len(found) > 0 and all(0 < value < math.inf for value in found)
    require(fine, "values", "positive and finite, one or more", found)
    low, high = min(found), max(found)
    if high / low > LOG_FROM:
        return Axis(low / 1.4, high * 1.4, log=True)
    return Axis(0.0, 1.15 * high)


def axis_ticks(axis: Axis, most: int = 6) -> list[float]:
    """Round values on an axis: 1, 2 and 5 times powers of ten.

    axis: where. most: how many are wanted, about. Raises ValueError unless it is positive.

    >>> axis_ticks(Axis(0.0, 2.3)), axis_ticks(Axis(0.05, 3.0, log=True))
    ([0.0, 0.5, 1.0, 1.5, 2.0], [0.05, 0.1, 0.2, 0.5, 1.0, 2.0])
    """
    most = require_positive_integer(most=most)
    require_work(200 * most, most=most)
    if axis.log:
        first, last = (math.floor(math.log10(end)) for end in (axis.low, axis.high))
        factors = (1, 2, 5) if 3 * math.log10(axis.high / axis.low) <= most else (1,)
        found = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    else:
        ten = 10.0 ** math.floor(math.log10((axis.high - axis.low) / most))
        span = axis.high - axis.low
        step = next(ten * factor for factor in (1, 2, 5, 10) if ten * factor * most >= span)
        start = math.ceil(axis.low / step - 1e-9)
        found = [step * place for place in range(start, start + most + 1)]
    return [float(f"{value:.9g}") for value in found if axis.low <= value <= axis.high]


def _x(axis: Axis, value: float) -> float:
    return LEFT + axis.share(value) * (RIGHT - LEFT)


def _y(axis: Axis, top: float, value: float) -> float:
    return top + (1 - axis.share(value)) * PANEL


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    marked = f' class="{kind}"' if kind else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{marked}>{html.escape(text)}</text>'
    )


def _frame(
    across: Axis, marks: Sequence[float], up: Axis, top: float, title: str, below: str
) -> str:
    """Axes with grid, ticks and what they show."""
    parts = _text(LEFT, top - 9, title, "title")
    for value in axis_ticks(up):
        y = _y(up, top, value)
        parts += f'<path class="grid" d="M{LEFT:.1f} {y:.1f}H{RIGHT:.1f}"/>'
        parts += _text(LEFT - 6, y + 4, f"{value:g}", "", "end")
    bottom = top + PANEL
    for value in marks:
        x = _x(across, value)
        parts += f'<path class="axis" d="M{x:.1f} {bottom:.1f}v4"/>'
        parts += _text(x, bottom + 17, f"{value:g}", "", "middle")
    parts += f'<path class="axis" d="M{LEFT:.1f} {top:.1f}V{bottom:.1f}H{RIGHT:.1f}"/>'
    return parts + _text(RIGHT, bottom + 32, below, "", "end")


def _svg(name: str, title: str, told: str, parts: str, height: float) -> str:
    ids = f"planner-{name}-title planner-{name}-told"
    first, second = ids.split()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {height:.0f}" '
        f'role="img" aria-labelledby="{ids}"><title id="{first}">{html.escape(title)}</title>'
        f'<desc id="{second}">{html.escape(told)}</desc>{parts}</svg>'
    )


def check_ticks_by_hand() -> None:
    """Steps are 1, 2 or 5 times a power of ten, of a logarithmic axis the values themselves.

    Source: by hand.
    """
    checks.equal("up to 2.3", axis_ticks(axis_over([1.0, 2.0])), [0.0, 0.5, 1.0, 1.5, 2.0])
    checks.equal("from 1 to 60", axis_ticks(Axis(1.0, 60.0, log=True)), [1, 2, 5, 10, 20, 50])
