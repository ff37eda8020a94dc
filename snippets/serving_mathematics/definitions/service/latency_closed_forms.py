"""Exponential stages in sequence, in parallel or as a branch have closed forms, against which every
other way to compose latency can be checked.

Unequal stages in sequence are hypoexponential. The quantile of a branch solves
Σ w_i e^{−t/m_i} = 1 − q; the mean of its parts' quantiles does not.

Assumes: independent exponential stages.

Source: partial fractions of the transform Π 1/(1 + m_i·s); Wolfram Language,
`HypoexponentialDistribution`, for the name.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from serving_mathematics.definitions.service.service import (
    Service,
    answer_quantile,
    answered_within,
    either,
    in_parallel,
    in_sequence,
    on_grid,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_positive,
    require_in,
    require_non_negative,
    require_shape,
)

FloatArray = npt.NDArray[np.float64]


def hypoexponential_survival(time_s: float, means_s: npt.ArrayLike) -> float:
    """P(T > t) of unequal exponential stages in sequence, Σ ℓ_i e^{−t/m_i} with the weights
    ℓ_i = Π_{j≠i} m_i/(m_i − m_j).

    time_s: t ≥ 0 [s]. means_s: m_i [s], shape (n,). The weights grow and cancel as two means
    approach each other: raises ValueError when one exceeds 10^6, and on times outside their range.

    >>> round(hypoexponential_survival(2.0, [1.0, 2.0]), 6)  # 2/e − 1/e²
    0.600424
    """
    time_s = require_non_negative(time_s=time_s)
    means = _means(means_s)
    gaps = means[:, None] - means[None, :]
    np.fill_diagonal(gaps, means)
    apart = "further apart (weights up to 10^6)"
    require(gaps != 0, "means_s", apart, means)
    weights = np.prod(means[:, None] / gaps, axis=1)
    require(np.abs(weights) <= 1e6, "means_s", apart, means)
    return float(weights @ np.exp(-time_s / means))


def _branch_quantile(probability: float, shares: npt.ArrayLike, means_s: npt.ArrayLike) -> float:
    """Quantile of a branch between exponential stages [s], by bisection to the last bit.

    probability: q in (0, 1). shares: w_i, shape (n,), positive, summing to 1. means_s: m_i [s],
    shape (n,). Raises ValueError outside these ranges.

    >>> round(_branch_quantile(0.99, [1.0], [1.0]), 6)
    4.60517
    """
    probability = require_in("(0, 1)", probability=probability)
    means = _means(means_s)
    weights = _shares(shares, means)
    low, high = 0.0, -math.log1p(-probability) * float(means.max())
    for _ in range(100):
        middle = (low + high) / 2
        if weights @ np.exp(-middle / means) > 1 - probability:
            low = middle
        else:
            high = middle
    return high


def _means(means_s: npt.ArrayLike) -> FloatArray:
    """Mean times as an array of one dimension, positive and finite."""
    means = as_floats(means_s=means_s)
    require(means.ndim == 1 and means.size > 0, "means_s", "of shape (n,)", means.shape)
    require_all_positive(means_s=means)
    return means


def _shares(shares: npt.ArrayLike, means: FloatArray) -> FloatArray:
    """Shares as an array of the shape of the means, positive and summing to 1."""
    weights = as_floats(shares=shares)
    require_shape(means.shape, shares=weights)
    positive = np.all(weights > 0) and abs(float(weights.sum()) - 1) <= 1e-9
    require(positive, "shares", "positive and summing to 1", weights)
    return weights


def figure_branch_p99(figure: Figure) -> None:
    """Once more than one request in a hundred takes the slow way, the p99 is a time of the slow
    way.

    A branch between exponential stages of 10 ms and of 1 s; dashed, the weighted mean of both p99s.

    Alt: Chart with two logarithmic axes: 99th percentile in milliseconds against the share of slow
    requests from a thousandth to all. The true curve is flat up to half a hundredth, and climbs
    tenfold just beyond a hundredth. The weighted mean of the percentiles rises slowly and lies far
    below the true curve in between.
    """
    axes = figure.subplots()
    share = np.logspace(-3, -0.001, 120)
    means = [10.0, 1000.0]
    true = [_branch_quantile(0.99, [1 - w, w], means) for w in share]
    weighted = math.log(100) * ((1 - share) * means[0] + share * means[1])
    axes.loglog(100 * share, weighted, color="C3", linestyle="--")
    axes.loglog(100 * share, true, color="C0")
    axes.axvline(1.0, color="C4", linestyle=":", linewidth=1.2)
    axes.annotate("p99 of all requests", (0.95, 340.0), color="C0", ha="right")
    axes.annotate("weighted mean\nof both p99", (6.0, 110.0), color="C3")
    axes.set(xlim=(0.1, 100), ylim=(20, 6000), ylabel="99th percentile [ms]")
    axes.set(yticks=[20, 50, 100, 200, 500, 1000, 2000, 5000])
    axes.set(xlabel="share of requests that take the slow way [%]")
    axes.minorticks_off()


def _stage(mean_s: float) -> Service:
    """An exponential latency that always succeeds, on 4,000 cells of 0.1 ms."""
    masses = on_grid(lambda t: -np.expm1(-t / mean_s), 0.0001, 4000)
    return Service(masses, np.zeros(4000), 0.0001, 0.0)


def check_grid_agrees_with_closed_forms() -> None:
    """Services composed on a grid meet the closed forms of sums, maxima and mixtures.

    Source: the hypoexponential distribution; the product of distribution functions and the mixture
    by hand; 4,000 cells of 0.1 ms. Rounding three stages to cells spreads them by a variance of
    3·h²/12, which moves the tail by up to about (h/m)²/8 = 3·10⁻⁶ at 20 ms.
    """
    times = np.array([0.01, 0.05, 0.15, 0.3])
    fast, mid, slow = (_stage(mean) for mean in (0.005, 0.02, 0.04))
    late_mid, late_slow = np.exp(-times / 0.02), np.exp(-times / 0.04)
    added = [hypoexponential_survival(float(t), [0.005, 0.02, 0.04]) for t in times]
    for name, service, survival in (
        ("5 + 20 + 40 ms", in_sequence(in_sequence(fast, mid), slow), added),
        ("slower of two", in_parallel(mid, slow), 1 - (1 - late_mid) * (1 - late_slow)),
        ("20 or 40 ms", either(0.3, mid, slow), 0.7 * late_mid + 0.3 * late_slow),
    ):
        late = [1 - answered_within(service, float(t)) for t in times]
        checks.close(name, late, survival, atol=5e-6)


def check_percentiles_do_not_average() -> None:
    """Of 99% requests of 10 ms and 1% of 1 s on average, the p99 is 72.5 ms, where the weighted
    average of the two p99s says 91.6 ms.

    Source: (0.99·10 + 0.01·1000)·ln(100) by hand; the same mixture on a grid.
    """
    p99 = _branch_quantile(0.99, [0.99, 0.01], [10.0, 1000.0])
    checks.close("p99 [ms]", p99, 72.547, atol=5e-4)
    fast, slow = (_branch_quantile(0.99, [1.0], [mean]) for mean in (10.0, 1000.0))
    checks.close("weighted [ms]", 0.99 * fast + 0.01 * slow, 19.9 * math.log(100), rtol=1e-12)
    on_cells = 1000 * answer_quantile(either(0.01, _stage(0.01), _stage(1.0)), 0.99)
    checks.close("p99 on the grid [ms]", on_cells, p99, rtol=1e-4)
