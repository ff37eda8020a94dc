"""What every worker needs, imported once in the process that the workers fork from."""

import gc

gc.disable()  # what is loaded here stays; collecting it over and over is a third of the work

import matplotlib.backends.backend_svg
import matplotlib.figure
import matplotlib.layout_engine
import matplotlib.style
import numpy

import snippets._engine.figures

gc.freeze()
gc.enable()

__all__ = ["matplotlib", "numpy", "snippets"]
