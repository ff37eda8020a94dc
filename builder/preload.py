"""What every worker needs, imported and used once in the process that the workers fork from."""

import asyncio  # which snippets import, as those in the last line
import concurrent.futures.thread
import contextlib
import csv
import gc
import pkgutil

import numpy.random
from matplotlib.figure import Figure

from builder import ROOT, SOURCES, figures, worker

# a style that is broken is for the modules to report
with contextlib.suppress(Exception), figures.house_style(ROOT / SOURCES / "house.mplstyle"):
    figure = Figure()
    axes = figure.subplots()
    axes.loglog([1e-5, 1e0], [1e0, 1e6], label="$x$")
    axes.legend()
    figures.light_and_dark(figure, "")
gc.freeze()  # what is loaded here stays
gc.set_threshold(50_000, 20)  # runs are short

__all__ = ["asyncio", "concurrent", "csv", "numpy", "pkgutil", "worker"]
