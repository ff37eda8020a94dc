"""Half-widths of 95% intervals for what one run gives, and quantiles of Student's t."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.support.require import as_number, require, require_in

FloatArray = npt.NDArray[np.float64]

STUDENT_T_975 = {
    2: 4.3026527297,
    3: 3.1824463053,
    4: 2.7764451052,
    5: 2.5705818356,
    7: 2.3646242516,
    9: 2.2621571628,
    10: 2.228138852,
    11: 2.2009851601,
    15: 2.1314495456,
    23: 2.0686576104,
    31: 2.0395134464,
    199: 1.9719565443,
}  # 97.5% points of Student's t by degrees of freedom; tested against scipy
TENTHS = 10


def half_width(statistic: Callable[..., Any], *series: Any) -> Any:
    """Half of a 95% interval by the jackknife over consecutive tenths, each left out in turn.

    statistic: takes the series and gives a number or an array. series: arrays with the same first
    axis of at least ten entries. Honest when a tenth lasts much longer than the correlation.
    Raises ValueError on other series.

    >>> round(float(half_width(np.mean, np.arange(10.0))), 4)  # t·s/√10
    2.1659
    """
    sizes = {len(one) for one in series}
    if len(sizes) != 1 or min(sizes) < TENTHS:
        raise ValueError(f"series must be of one length, at least {TENTHS}, got {sorted(sizes)}")
    tenth = np.arange(min(sizes)) * TENTHS // min(sizes)
    without = np.array(
        [statistic(*(np.asarray(one)[tenth != k] for one in series)) for k in range(TENTHS)]
    )
    return STUDENT_T_975[9] * (TENTHS - 1) * without.std(axis=0, ddof=1) / math.sqrt(TENTHS)


@functools.cache
def _legendre() -> tuple[FloatArray, FloatArray]:
    """64 nodes and weights of Gauss–Legendre quadrature on [−1, 1]."""
    return np.polynomial.legendre.leggauss(64)


def student_quantile(probability: float, degrees: float) -> float:
    """Quantile of Student's t distribution to five digits or more, without scipy.

    probability: in [0.0005, 0.9995]. degrees: degrees of freedom, in [1, 1e6]. With t = √ν·tan θ
    the distribution function is ½ + C·∫₀^θ cos^{ν−1}, here by Gauss–Legendre; Newton's method from
    the normal quantile, which lies on the safe side of a concave function. Raises ValueError
    outside the ranges.

    >>> round(student_quantile(0.975, degrees=4), 5)
    2.77645
    """
    degrees = as_number(degrees=degrees)
    probability = require_in("[0.0005, 0.9995]", probability=probability)
    require(1 <= degrees <= 1e6, "degrees", "in [1, 1e6]", degrees)
    upper = max(probability, 1 - probability)
    scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(math.pi)
    nodes, weights = _legendre()
    t = NormalDist().inv_cdf(upper)
    for _ in range(40):
        theta = math.atan(t / math.sqrt(degrees))
        angles = theta * (nodes + 1) / 2
        below = 0.5 + scale * theta / 2 * float(weights @ np.cos(angles) ** (degrees - 1))
        density = scale / math.sqrt(degrees) * math.cos(theta) ** (degrees + 1)
        step = (upper - below) / density
        t += step
        if abs(step) < 1e-12 * (1 + t):
            break
    return math.copysign(t, probability - 0.5)
