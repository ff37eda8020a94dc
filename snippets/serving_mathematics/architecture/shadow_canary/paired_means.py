"""What pairs say: the mean of their differences, minutes of two engines, answers of a shadow.

d_i = y_i − x_i, with mean d̄ ± t·s/√n. Times of an engine are compared by minutes that canary and
control both served: d_i is log(new/old) of a minute. Of answers, right or wrong, the share lost is
bounded by the differences that the score test does not refuse.

Assumes: pairs that do not depend on each other, which for minutes an A/A says.

Source: Student's t by its closed integral; Tango (1998) for paired answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.intervals import student_quantile
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_positive,
    require_in,
    require_shape,
)


@dataclass(frozen=True)
class _PairedDifference:
    """Mean of candidate − baseline over pairs, its standard error and its confidence interval."""

    mean: float
    standard_error: float
    low: float
    high: float


def _paired_difference(
    baseline: npt.ArrayLike, candidate: npt.ArrayLike, confidence: float = 0.95
) -> _PairedDifference:
    """Student's interval for the mean of candidate − baseline on the same items.

    baseline, candidate: one value per item in the same order, shape (n,), n ≥ 2, not all
    differences equal. confidence: in (0, 0.999]. Raises ValueError on other shapes and non-finite
    values.

    >>> _paired_difference([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).mean
    2.0
    """
    x, y = as_floats(baseline=baseline), as_floats(candidate=candidate)
    require(x.ndim == 1 and x.size >= 2, "baseline", "a sequence of at least two", x.shape)
    require_shape(x.shape, candidate=y)
    require(np.isfinite(x).all(), "baseline", "finite", baseline)
    require(np.isfinite(y).all(), "candidate", "finite", candidate)
    confidence = require_in("(0, 0.999]", confidence=confidence)
    differences = y - x
    error = float(differences.std(ddof=1)) / math.sqrt(x.size)
    require(error > 0, "candidate", "different from the baseline by more than a constant", y)
    mean = float(differences.mean())
    half = student_quantile((1 + confidence) / 2, min(x.size - 1, 10**6)) * error
    return _PairedDifference(mean, error, mean - half, mean + half)


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
    apart = _paired_difference(np.log(old), np.log(new), 1 - 2 * level)
    return math.expm1(apart.low), math.expm1(apart.high)


def _quality_harm(
    newly_wrong: int, newly_right: int, pairs: int, level: float
) -> tuple[float, float]:
    """Bounds of the share of answers lost, from a shadow that answered the same requests.

    newly_wrong, newly_right: discordant pairs. pairs: all of them. level: error probability of each
    bound, in (0, 0.5). Tango's score bounds: the δ at which (w − r − nδ)/√(n(2q̂ + δ − δ²)) is ±z,
    where q̂ is the likeliest share of newly right answers if the loss is δ; by bisection. Raises
    ValueError outside these ranges.

    >>> low, high = _quality_harm(30, 10, pairs=1000, level=0.05)
    >>> round(low, 4), round(high, 4)
    (0.01, 0.0312)
    """
    newly_wrong, newly_right, pairs = as_number(
        newly_wrong=newly_wrong, newly_right=newly_right, pairs=pairs
    )
    for name, count in (("newly_wrong", newly_wrong), ("newly_right", newly_right)):
        require(0 <= count < math.inf and count % 1 == 0, name, "a count", count)
    w, r, n = newly_wrong, newly_right, pairs
    whole = 1 <= n < math.inf and n % 1 == 0
    require(whole and n >= w + r, "pairs", "a count, no less than discordant", n)
    level = require_in("(0, 0.5)", level=level)
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


def _answers(rng: np.random.Generator, pairs: int, lost: float = 0.0) -> tuple[int, int, int]:
    """Newly wrong, newly right and pairs of a shadow in which 2% differ."""
    wrong, right, _ = rng.multinomial(pairs, [0.01 + lost / 2, 0.01 - lost / 2, 0.98])
    return int(wrong), int(right), pairs


def check_bounds_on_quality() -> None:
    """The bounds on the answers lost in a shadow err about as often as they may.

    Source: 1,050 simulated shadows of 1,000 pairs with 2% of discordant answers and a loss of 1%;
    with equally good versions the bounds agree with those of the exact test's normal form.
    """
    rng = np.random.default_rng(55)
    shadows = [_answers(rng, 1000, 0.01) for _ in range(1050)]
    known = {shadow: _quality_harm(*shadow, 0.05) for shadow in {*shadows}}
    bounds = [known[shadow] for shadow in shadows]
    slack = 3 * math.sqrt(0.05 * 0.95 / 1050)
    low, high = np.mean([b[0] > 0.01 for b in bounds]), np.mean([b[1] < 0.01 for b in bounds])
    checks.inside("low bound errs", float(low), 0.04 - slack, 0.06 + slack)
    checks.inside("high bound errs", float(high), 0.04 - slack, 0.06 + slack)
    z = (30 - 10) / math.sqrt(30 + 10)
    limit = _quality_harm(30, 10, 1000, NormalDist().cdf(-z))[0]
    checks.close("low bound at the level of McNemar's z", limit, 0.0, atol=1e-9)


def check_bounds_on_times() -> None:
    """The bounds on a time err as often as they may, for normal and for skewed minutes.

    Source: 400 simulated canaries of 60 minutes that are slower by a tenth.
    """
    rng = np.random.default_rng(52)
    for name, noise in (
        ("normal", rng.normal(0, 0.07, (400, 60))),
        ("skewed", 0.07 * (rng.exponential(1.0, (400, 60)) - 1)),
    ):
        quick = [time_harm(np.ones(60), 1.1 * np.exp(row), 0.05) for row in noise]
        low = np.mean([bounds[0] > 0.1 for bounds in quick])
        high = np.mean([bounds[1] < 0.1 for bounds in quick])
        slack = 3 * math.sqrt(0.05 * 0.95 / 400)
        checks.inside(f"{name}: low bound errs", float(low), 0.03 - slack, 0.06 + slack)
        checks.inside(f"{name}: high bound errs", float(high), 0.04 - slack, 0.08 + slack)
