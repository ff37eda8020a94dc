"""The Universal Scalability Law, and a fall that it only imagines.

X(N) = γN/(1 + α(N−1) + βN(N−1)): γ is the throughput of one client, α the share of work that only
one can do at a time (contention), β the cost of keeping every pair consistent (coherency). With
β = 0 it is Amdahl's law and levels off at γ/α; with β > 0 it peaks at √((1−α)/β) and falls.
N/X is linear in 1, N − 1 and N(N − 1), which is how it is fitted.

Assumes: a steady state at every point; errors of N/X of one size.

Source: Gunther (2007).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_positive,
    require_non_negative,
    require_positive,
    require_shape,
)

FloatArray = npt.NDArray[np.float64]


def usl_throughput(
    concurrency: npt.ArrayLike, contention: float, coherency: float, single: float
) -> FloatArray:
    """Throughput by the Universal Scalability Law, in the unit of `single`.

    concurrency: N ≥ 1, any shape. contention: α ≥ 0. coherency: β ≥ 0; 0 gives Amdahl's law.
    single: γ > 0, throughput at N = 1. Raises ValueError outside these ranges.

    >>> usl_throughput([1, 2, 5], contention=0.1, coherency=0.05, single=10.0).round(6).tolist()
    [10.0, 16.666667, 20.833333]
    """
    n = as_floats(concurrency=concurrency)
    require((n >= 1) & (n < math.inf), "concurrency", "finite and ≥ 1", n)
    contention, coherency = require_non_negative(contention=contention, coherency=coherency)
    single = require_positive(single=single)
    return np.asarray(single * n / (1 + contention * (n - 1) + coherency * n * (n - 1)))


def fit_usl(concurrency: npt.ArrayLike, throughput: npt.ArrayLike) -> tuple[float, float, float]:
    """Contention α, coherency β and γ of the law that fits best, by least squares of N/X.

    concurrency: N ≥ 1, three or more that differ, shape (n,). throughput: X > 0, shape (n,). A
    contention or coherency below 0 is set to 0, and the rest fitted anew, the best way of these.
    Raises ValueError on other input, and where the line of N/X does not begin above 0.

    >>> [round(value, 9) + 0.0 for value in fit_usl([1, 2, 3], [1.0, 4 / 3, 1.5])]
    [0.5, 0.0, 1.0]
    """
    n = as_floats(concurrency=concurrency)
    require(n.ndim == 1 and np.unique(n).size >= 3, "concurrency", "three or more", n)
    require((n >= 1) & (n < math.inf), "concurrency", "finite and ≥ 1", n)
    x = np.asarray(require_all_positive(throughput=as_floats(throughput=throughput)))
    require_shape(n.shape, throughput=x)
    columns = np.stack([np.ones(n.size), n - 1, n * (n - 1)], axis=1)
    found, least = np.zeros(3), math.inf
    for used in ([0], [0, 1], [0, 2], [0, 1, 2]):
        tried = np.zeros(3)
        tried[used] = np.linalg.lstsq(columns[:, used], n / x, rcond=None)[0]
        error = float(np.sum((columns @ tried - n / x) ** 2))
        if error < least and np.all(tried[1:] >= 0):
            found, least = tried, error
    require(found[0] > 0, "throughput", "of N/X that begins above 0", x)
    return float(found[1] / found[0]), float(found[2] / found[0]), float(1 / found[0])
