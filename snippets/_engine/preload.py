"""What every worker needs, imported once in the process that the workers fork from."""

import matplotlib.backends.backend_svg
import matplotlib.figure
import matplotlib.layout_engine
import matplotlib.style
import numpy

import snippets._engine.figures

__all__ = ["matplotlib", "numpy", "snippets"]
