"""Draw a chapter's figure outside of the site: in a notebook or a script of your own.

A `figure_*` function draws on a figure that it is handed, so that importing its module takes numpy
alone.

Source: matplotlib documentation, `matplotlib.figure.Figure` and `matplotlib.style.context`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import matplotlib.figure

Figure: TypeAlias = "matplotlib.figure.Figure"  # a name for annotations: nothing is imported


def use_house_style() -> None:
    """Draw from now on as the site does."""
    import matplotlib as mpl
    import matplotlib.style

    matplotlib.style.use(Path(__file__).parents[1] / "house.mplstyle")
    mpl.rcParams["figure.constrained_layout.use"] = True


def drawn(draw: Callable[[Figure], None]) -> Figure:
    """A new figure with what a `figure_*` function draws. Needs matplotlib.

    >>> drawn(lambda figure: figure.suptitle("empty")).get_suptitle()
    'empty'
    """
    import matplotlib.figure

    figure = matplotlib.figure.Figure(layout="constrained")
    draw(figure)
    return figure
