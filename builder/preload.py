"""What every worker needs, imported and used once in the process that the workers fork from."""

import gc

gc.disable()  # what is loaded here stays; collecting it over and over is a third of the work

import asyncio  # which the checks import
import contextlib
import functools
import os
from pathlib import Path

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


def _font_files() -> dict[int, str]:
    """The open font files by their numbers, where /proc tells."""
    found = {}
    for entry in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(OSError):
            if (file := str(entry.readlink())).endswith((".ttf", ".otf")):
                found[int(entry.name)] = file
    return found


def _open_again() -> None:
    """Open the font files anew. matplotlib forgets its fonts in a child, but formulas that were
    parsed before keep theirs, and read glyphs from the files when they are drawn: from places that
    they would share with all other workers.
    """
    for number, file in _FONTS.items():
        own = os.open(file, os.O_RDONLY)
        os.lseek(own, os.lseek(number, 0, os.SEEK_CUR), os.SEEK_SET)
        os.dup2(own, number, inheritable=False)
        os.close(own)


with contextlib.suppress(Exception):  # a style that is broken is for the modules to report
    _draw()
if _FONTS := _font_files():
    os.register_at_fork(after_in_child=_open_again)
else:
    MathTextParser._parse_cached.cache_clear()  # type: ignore[attr-defined]
gc.freeze()
gc.set_threshold(50_000, 20)  # runs are short
gc.enable()

__all__ = ["asyncio", "numpy", "worker"]
