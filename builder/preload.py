"""What every worker needs, imported and used once in the process that the workers fork from."""

import gc

gc.disable()  # what is loaded here stays; collecting it over and over is a third of the work

import asyncio  # which the checks import
import contextlib
import functools

import matplotlib.textpath
import numpy.random
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser

from builder import ROOT, SOURCES, figures, worker

# matplotlib keeps the formulas that it parsed with the parser, and takes a new one for each drawing
vars(matplotlib.textpath)["MathTextParser"] = functools.cache(MathTextParser)


def _draw() -> None:
    """Find fonts and parse the formulas of logarithmic axes: matplotlib keeps what it found."""
    with figures.house_style(ROOT / SOURCES / "house.mplstyle"):
        figure = Figure()
        axes = figure.subplots()
        axes.loglog([1e-5, 1e0], [1e0, 1e6], label="$x$")
        axes.set(xlabel="x", ylabel="y", title="z")
        axes.legend()
        figures.light_and_dark(figure, "")


with contextlib.suppress(Exception):  # a style that is broken is for the modules to report
    _draw()
gc.freeze()
gc.set_threshold(50_000, 20)  # runs are short
gc.enable()

__all__ = ["asyncio", "numpy", "worker"]
