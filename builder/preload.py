"""What every worker needs, imported once in the process that the workers fork from."""

import gc

import numpy.random
from matplotlib.figure import Figure

from builder import captions, figures, sliders, worker

gc.freeze()  # what is loaded here stays
gc.set_threshold(50_000, 20)  # runs are short

__all__ = ["Figure", "captions", "figures", "numpy", "sliders", "worker"]
