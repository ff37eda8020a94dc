"""What pairs say: the mean of their differences, minutes of two engines, answers of a shadow.

d_i = y_i − x_i, with mean d̄ ± t·s/√n. Times of an engine are compared by minutes that canary and
control both served: d_i is log(new/old) of a minute. Of answers, right or wrong, the share lost is
bounded by the differences that the score test does not refuse.

Assumes: pairs that do not depend on each other, which for minutes an A/A says.

Source: Student's t by its closed integral; Tango (1998) for paired answers.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from serving_mathematics.support.intervals import student_quantile
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_positive,
    require_in,
    require_shape,
)


def _paired_difference(
    baseline: npt.ArrayLike, candidate: npt.ArrayLike, level: float
) -> tuple[float, float, float, float]:
    """Mean of candidate − baseline on the same items, its standard error, and Student's interval.

    baseline, candidate: one value per item in the same order, shape (n,), n ≥ 2, not all
    differences equal. level: error probability of each bound.

    >>> _paired_difference([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], level=0.025)[0]
    2.0
    """
    differences = np.asarray(candidate) - np.asarray(baseline)
    error = float(differences.std(ddof=1)) / math.sqrt(differences.size)
    told = "different from the baseline by more than a constant"
    require(error > 0, "candidate", told, candidate)
    mean = float(differences.mean())
    half = student_quantile(1 - level, min(differences.size - 1, 10**6)) * error
    return mean, error, mean - half, mean + half


def time_harm(
    baseline_s: npt.ArrayLike, candidate_s: npt.ArrayLike, level: float
) -> tuple[float, float]:
    """Bounds of the relative increase of a time, from the same minutes of control and canary.

    baseline_s, candidate_s: mean time of each minute, positive [s], shape (n,), n ≥ 2, not all
    ratios equal. level: error probability of each bound, in [0.0005, 0.5). Raises ValueError on
    other values.

    >>> low, high = time_harm([0.020, 0.020, 0.021], [0.022, 0.021, 0.023], level=0.05)
    >>> round(low, 3), round(high, 3)
    (0.036, 0.129)
    """
    old, new = require_all_positive(
        baseline_s=as_floats(baseline_s=baseline_s), candidate_s=as_floats(candidate_s=candidate_s)
    )
    level = require_in("[0.0005, 0.5)", level=level)
    require(old.ndim == 1 and old.size >= 2, "baseline_s", "of shape (n,), n ≥ 2", old.shape)
    require_shape(old.shape, candidate_s=new)
    *_, least, most = _paired_difference(np.log(old), np.log(new), level)
    return math.expm1(least), math.expm1(most)


def _quality_harm(
    newly_wrong: int, newly_right: int, pairs: int, level: float
) -> tuple[float, float]:
    """Bounds of the share of answers lost, from a shadow that answered the same requests.

    newly_wrong, newly_right: discordant pairs. pairs: all of them. level: error probability of each
    bound, in (0, 0.5). Tango's score bounds: the δ at which (w − r − nδ)/√(n(2q̂ + δ − δ²)) is ±z,
    where q̂ is the likeliest share of newly right answers if the loss is δ; by bisection.

    >>> low, high = _quality_harm(30, 10, pairs=1000, level=0.05)
    >>> round(low, 4), round(high, 4)
    (0.01, 0.0312)
    """
    w, r, n = newly_wrong, newly_right, pairs
    upper = -NormalDist().inv_cdf(level)
    estimate, bounds = (w - r) / n, []
    for z, low, high in ((upper, -1.0, estimate), (-upper, estimate, 1.0)):
        for _ in range(42):  # to a difference of less than 1e-12
            loss = (low + high) / 2
            b, c = (2 * n - w + r) * loss - w - r, -r * loss * (1 - loss)
            share = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
            spread = math.sqrt(max(0.0, n * (2 * share + loss - loss**2)))
            low, high = (loss, high) if w - r - n * loss > z * spread else (low, loss)
        bounds.append((low + high) / 2)
    return bounds[0], bounds[1]
