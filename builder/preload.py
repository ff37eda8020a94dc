"""What every worker needs, imported and used once in the process that the workers fork from."""

import gc

gc.disable()  # what is loaded here stays; collecting it over and over is a third of the work

import contextlib
import functools
import io
from pathlib import Path
from typing import Any

import numpy.random
from matplotlib import font_manager, ft2font
from matplotlib.figure import Figure

from builder import ROOT, SOURCES, figures, worker

FT2Font = ft2font.FT2Font


def _in_memory(file: str, **options: Any) -> ft2font.FT2Font:
    """A font of which matplotlib does not fetch every glyph from the file, whenever it needs one:
    that took most of the time of a text, and from a place in the file that all workers would share.
    """
    return FT2Font(io.BytesIO(Path(file).read_bytes()), **options)


def _draw() -> None:
    """Find fonts and parse the formulas of logarithmic axes: matplotlib keeps what it found."""
    with figures.house_style(ROOT / SOURCES / "house.mplstyle"):
        figure = Figure()
        axes = figure.subplots()
        axes.loglog([1e-5, 1e0], [1e0, 1e6], label="$x$")
        axes.set(xlabel="x", ylabel="y", title="z")
        axes.legend()
        figures.light_and_dark(figure, "")


vars(ft2font)["FT2Font"] = _in_memory
# matplotlib would forget its fonts in a child, because of their files
vars(font_manager)["_get_font"] = functools.cache(vars(font_manager)["_get_font"].__wrapped__)
with contextlib.suppress(Exception):  # a style that is broken is for the modules to report
    _draw()
gc.freeze()
gc.set_threshold(50_000, 20)  # runs are short
gc.enable()

__all__ = ["numpy", "worker"]
