"""Doubling.

Source: hand.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from serving_mathematics import checks

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def double(value: float) -> float:
    """Twice the value."""
    return 2.0 * value


def example() -> SimpleNamespace:
    """The number that the page quotes."""
    return SimpleNamespace(doubled=double(2.0))


def figure_line(figure: Figure) -> None:
    """Doubling is a straight line.

    Alt: A line from zero to two.
    """
    axes = figure.add_subplot(xlabel="value [1]", ylabel="double [1]")
    axes.plot([0, 1], [double(0.0), double(1.0)])


def check_double_of_two() -> None:
    """Twice two is four.

    Source: hand.
    """
    checks.close("double(2)", double(2.0), 4.0)
