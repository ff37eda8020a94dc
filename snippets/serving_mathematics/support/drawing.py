"""Draw a chapter's figure outside of the site: in a notebook or a script of your own.

A `figure_*` function draws on a figure that it is handed, so that importing its module takes numpy
alone.

Source: matplotlib documentation, `matplotlib.figure.Figure` and `matplotlib.style.context`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def use_house_style() -> None:
    """Draw from now on as the site does."""
    import matplotlib as mpl
    import matplotlib.style

    matplotlib.style.use(str(files("serving_mathematics") / "house.mplstyle"))
    mpl.rcParams["figure.constrained_layout.use"] = True


def drawn(draw: Callable[[Figure], None]) -> Figure:
    """A new figure with what a `figure_*` function draws. Needs matplotlib.

    >>> drawn(lambda figure: figure.suptitle("empty")).get_suptitle()
    'empty'
    """
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    draw(figure)
    return figure
