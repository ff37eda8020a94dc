"""Exponential stages in sequence, in parallel or as a branch have closed forms, against which every
other way to compose latency can be checked.

Equal stages in sequence are Erlang, unequal ones hypoexponential, a branch is hyperexponential. The
quantile of a branch solves Σ w_i e^{−t/m_i} = 1 − q; the mean of its parts' quantiles does not.

Assumes: independent exponential stages.

Source: partial fractions of the transform Π 1/(1 + m_i·s); Wolfram Language,
`HypoexponentialDistribution`, for the name.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import batch_means
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
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_positive,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_shape,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]


def erlang_survival(time_s: float, stages: int, mean_s: float) -> float:
    """P(T > t) of equal exponential stages in sequence, Σ_{k<n} e^{−x}x^k/k! with x = t/m.

    time_s: t ≥ 0 [s]. stages: n ≥ 1. mean_s: m of one stage [s]. Raises ValueError outside these
    ranges.

    >>> round(erlang_survival(2.0, stages=2, mean_s=1.0), 6)  # 3/e²
    0.406006
    """
    time_s = require_non_negative(time_s=time_s)
    stages = require_positive_integer(stages=stages)
    stages = require_in("[1, 1e5]", stages=stages)
    mean_s = require_positive(mean_s=mean_s)
    term = total = math.exp(-time_s / mean_s)
    for k in range(1, int(stages)):
        term *= time_s / mean_s / k
        total += term
    return total


def erlang_quantile(probability: float, stages: int, mean_s: float) -> float:
    """Time within which a share q of equal exponential stages in sequence is done [s].

    probability: q in [0, 1). stages: n ≥ 1. mean_s: m of one stage [s]. The inverse of
    `erlang_survival`, by bisection. Raises ValueError outside these ranges.

    >>> round(erlang_quantile(1 - 3 / math.e**2, stages=2, mean_s=1.0), 9)
    2.0
    """
    probability = require_in("[0, 1)", probability=probability)
    mean_s = require_positive(mean_s=mean_s)
    late, low, high = 1 - probability, 0.0, mean_s
    while erlang_survival(high, stages, mean_s) > late:
        low, high = high, 2 * high
    while high - low > 1e-15 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (
            (middle, high) if erlang_survival(middle, stages, mean_s) > late else (low, middle)
        )
    return high if probability > 0 else 0.0


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
    require(np.all(gaps != 0), "means_s", apart, means)
    weights = np.prod(means[:, None] / gaps, axis=1)
    require(np.all(np.abs(weights) <= 1e6), "means_s", apart, means)
    return float(weights @ np.exp(-time_s / means))


def slowest_survival(time_s: float, means_s: npt.ArrayLike) -> float:
    """P(T > t) of exponential stages in parallel that are all needed, 1 − Π(1 − e^{−t/m_i}).

    Arguments and errors as for `branch_survival`, without shares.

    >>> round(slowest_survival(1.0, [1.0, 1.0]), 6)  # 2/e − 1/e²
    0.600424
    """
    time_s = require_non_negative(time_s=time_s)
    with np.errstate(divide="ignore"):  # at t = 0 the logarithm of 0 is −∞, as it should be
        return float(-np.expm1(np.log(-np.expm1(-time_s / _means(means_s))).sum()))


def branch_survival(time_s: float, shares: npt.ArrayLike, means_s: npt.ArrayLike) -> float:
    """P(T > t) of a branch between exponential stages, Σ w_i e^{−t/m_i}.

    time_s: t ≥ 0 [s]. shares: w_i, shape (n,), positive, summing to 1. means_s: m_i [s], shape
    (n,). Raises ValueError outside these ranges.

    >>> round(branch_survival(1.0, [0.5, 0.5], [1.0, 2.0]), 6)  # (1/e + 1/√e)/2
    0.487205
    """
    time_s = require_non_negative(time_s=time_s)
    means = _means(means_s)
    return float(_shares(shares, means) @ np.exp(-time_s / means))


def branch_quantile(probability: float, shares: npt.ArrayLike, means_s: npt.ArrayLike) -> float:
    """Quantile of a branch between exponential stages [s], by bisection to the last bit.

    probability: q in (0, 1). Other arguments and errors as for `branch_survival`.

    >>> round(branch_quantile(0.99, [1.0], [1.0]), 6)
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


def averaged_quantiles(
    probability: float, shares: npt.ArrayLike, means_s: npt.ArrayLike
) -> tuple[float, float]:
    """The plain and the weighted mean of the parts' quantiles [s]: what a dashboard may show, and
    not the quantile of anything.

    Arguments and errors as for `branch_quantile`.

    >>> [round(x, 6) for x in averaged_quantiles(0.99, [0.75, 0.25], [1.0, 3.0])]
    [9.21034, 6.907755]
    """
    probability = require_in("(0, 1)", probability=probability)
    means = _means(means_s)
    quantiles = -math.log1p(-probability) * means
    return float(quantiles.mean()), float(_shares(shares, means) @ quantiles)


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


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    means = [10.0, 1000.0]
    plain, weighted = averaged_quantiles(0.99, [0.99, 0.01], means)
    return SimpleNamespace(
        rare_p99_ms=branch_quantile(0.99, [0.99, 0.01], means),
        rare_mean_ms=0.99 * 10.0 + 0.01 * 1000.0,
        mean_of_p99s_ms=plain,
        weighted_p99s_ms=weighted,
        half_percent_p99_ms=branch_quantile(0.99, [0.995, 0.005], means),
        two_percent_p99_ms=branch_quantile(0.99, [0.98, 0.02], means),
        five_percent_p99_ms=branch_quantile(0.99, [0.95, 0.05], means),
        three_stages_p99_ms=erlang_quantile(0.99, 3, 20.0),
        three_added_p99_ms=3 * erlang_quantile(0.99, 1, 20.0),
        weighted_five_ms=averaged_quantiles(0.99, [0.95, 0.05], means)[1],
    )


def figure_branch_p99(figure: Figure) -> None:
    """Once more than 1% of requests take the slow way, the p99 is the slow way's.

    A branch between exponential stages of 10 ms and of 1 s. The weighted mean of the parts' p99 is
    right at the ends and where it happens to cross the curve, the plain mean only where it crosses.

    Alt: Chart with two logarithmic axes: 99th percentile in milliseconds against the share of slow
    requests from 0.1 to 100 percent. The true curve stays near 50 milliseconds below half a
    percent, and climbs tenfold just beyond one percent. The weighted mean of the percentiles rises
    slowly and lies far below it from 2 to 50 percent. The plain mean is a constant 2326.
    """
    axes = figure.subplots()
    share = np.logspace(-3, -0.001, 120)
    means = [10.0, 1000.0]
    true = [branch_quantile(0.99, [1 - w, w], means) for w in share]
    averages = np.array([averaged_quantiles(0.99, [1 - w, w], means) for w in share])
    axes.loglog(100 * share, averages[:, 0], color="C4", linestyle="--")
    axes.loglog(100 * share, averages[:, 1], color="C3", linestyle="--")
    axes.loglog(100 * share, true, color="C0")
    axes.axvline(1.0, color="C4", linestyle=":", linewidth=1.2)
    for text, x, y, colour in (
        ("plain mean", 0.11, 2650.0, "C4"),
        ("p99 of all requests", 1.25, 32.0, "C0"),
        ("weighted mean\nof both p99", 6.0, 110.0, "C3"),
    ):
        axes.annotate(text, (x, y), color=colour)
    axes.annotate(
        "",
        (1.06, 100.0),
        xytext=(1.5, 42.0),
        arrowprops={"arrowstyle": "-", "color": "C0", "linewidth": 1.0},
    )
    axes.set(
        xlim=(0.1, 100),
        ylim=(20, 6000),
        xlabel="share of requests that take the slow way [%]",
        ylabel="99th percentile [ms]",
    )
    axes.minorticks_off()


def check_grid_agrees_with_closed_forms() -> None:
    """Services composed on a grid meet the closed forms of sums, maxima and mixtures.

    Source: Erlang and hypoexponential distributions, the product of distribution functions, the
    hyperexponential distribution; 4,000 cells of 0.1 ms. Rounding three stages to cells spreads
    them by a variance of 3·h²/12, which moves the tail by up to about (h/m)²/8 = 3·10⁻⁶ at 20 ms.
    """
    times = (0.01, 0.05, 0.15, 0.3)
    fast, mid, slow = (_stage(mean) for mean in (0.005, 0.02, 0.04))
    for name, service, survival in (
        (
            "20 + 20 + 20 ms",
            in_sequence(in_sequence(mid, mid), mid),
            [erlang_survival(t, 3, 0.02) for t in times],
        ),
        (
            "5 + 20 + 40 ms",
            in_sequence(in_sequence(fast, mid), slow),
            [hypoexponential_survival(t, [0.005, 0.02, 0.04]) for t in times],
        ),
        (
            "slower of 20 and 40 ms",
            in_parallel(mid, slow),
            [slowest_survival(t, [0.02, 0.04]) for t in times],
        ),
        (
            "20 or 40 ms",
            either(0.3, mid, slow),
            [branch_survival(t, [0.7, 0.3], [0.02, 0.04]) for t in times],
        ),
    ):
        late = [1 - answered_within(service, t) for t in times]
        checks.close(name, late, survival, atol=5e-6)


def _stage(mean_s: float) -> Service:
    """An exponential latency that always succeeds, on 4,000 cells of 0.1 ms."""
    masses = on_grid(lambda t: -np.expm1(-t / mean_s), 0.0001, 4000)
    return Service(masses, np.zeros(4000), 0.0001, 0.0)


def check_sums_are_simulated() -> None:
    """Stages of 5, 20 and 40 ms in sequence take longer than 150 ms as often as the formula says.

    Source: 200,000 simulated sums, and three equal stages of 20 ms, with their standard errors.
    """
    rng = np.random.default_rng(62)
    unequal = rng.exponential([5.0, 20.0, 40.0], (200_000, 3)).sum(axis=1)
    equal = rng.exponential(20.0, (200_000, 3)).sum(axis=1)
    late, late_equal = (batch_means(np.asarray(t > 150.0, dtype=float)) for t in (unequal, equal))
    checks.covers("5 + 20 + 40", late, hypoexponential_survival(150.0, [5.0, 20.0, 40.0]))
    checks.covers("20 + 20 + 20", late_equal, erlang_survival(150.0, 3, 20.0))


def check_percentiles_do_not_add() -> None:
    """Of 20 and 40 ms in sequence the p99 is below the sum of both p99s, and the median above the
    sum of both medians.

    Source: the quantiles found on the grid, put back into 2e^{−t/40} − e^{−t/20}; the sums by hand,
    60·ln(100) and 60·ln(2).
    """
    service = in_sequence(_stage(0.02), _stage(0.04))
    p99, median = (1000 * answer_quantile(service, q) for q in (0.99, 0.5))
    for label, t, late in (("p99", p99, 0.01), ("median", median, 0.5)):
        checks.close(
            f"{label}, put back", 2 * math.exp(-t / 40) - math.exp(-t / 20), late, rtol=1e-5
        )
    checks.holds("p99 < 276.3 ms", p99 < 60 * math.log(100), got=p99)
    checks.holds("median > 41.6 ms", median > 60 * math.log(2), got=median)


def check_percentiles_do_not_average() -> None:
    """Of 99% requests of 10 ms and 1% of 1 s on average, the p99 is 72.5 ms; averaging the two p99s
    says 2326 ms, weighted averaging 91.6 ms.

    Source: by hand, 1010·ln(100)/2 and (0.99·10 + 0.01·1000)·ln(100); the quantile put back into
    0.99·e^{−t/10} + 0.01·e^{−t/1000}; the same mixture on a grid; 400,000 simulated requests.
    """
    shares, means = [0.99, 0.01], [10.0, 1000.0]
    p99 = branch_quantile(0.99, shares, means)
    plain, weighted = averaged_quantiles(0.99, shares, means)
    checks.close("p99 [ms]", p99, 72.547, atol=5e-4)
    late = 0.99 * math.exp(-p99 / 10) + 0.01 * math.exp(-p99 / 1000)
    checks.close("put back", late, 0.01, rtol=1e-12)
    checks.close("mean of p99s [ms]", plain, 2325.6, atol=0.05)
    checks.close("mean of p99s, by hand", plain, 505 * math.log(100), rtol=1e-12)
    checks.close("weighted [ms]", weighted, 91.643, atol=5e-4)
    checks.close("weighted, by hand", weighted, 19.9 * math.log(100), rtol=1e-12)
    on_cells = 1000 * answer_quantile(either(0.01, _stage(0.01), _stage(1.0)), 0.99)
    checks.close("p99 on the grid [ms]", on_cells, p99, rtol=1e-4)
    rng = np.random.default_rng(63)
    latency = rng.exponential(np.where(rng.random(400_000) < 0.01, 1000.0, 10.0))
    slow = batch_means(np.asarray(latency > p99, dtype=float))
    checks.covers("share beyond 72.547 ms", slow, 0.01)


def check_erlang_quantile() -> None:
    """The quantile of stages in sequence inverts their tail, and is half a χ² quantile.

    Source: tables of χ² with 2n degrees of freedom at 1%: 9.210, 16.812 and 23.209 for two, six
    and ten of them.
    """
    for stages, table in ((1, 9.210), (3, 16.812), (5, 23.209)):
        time = erlang_quantile(0.99, stages, 1.0)
        checks.close(f"{stages} stages", 2 * time, table, atol=5e-4, kind="published")
        checks.close(f"put back, {stages}", erlang_survival(time, stages, 1.0), 0.01, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Equal means, shares that do not add up and NaN times are errors that name the argument."""
    checks.raises("equal", hypoexponential_survival, 1.0, [1.0, 1.0], match="means_s must be furth")
    checks.raises("shares", branch_survival, 1.0, [0.5, 0.4], [1.0, 2.0], match="summing to 1")
    checks.raises("NaN", erlang_survival, math.nan, 2, 1.0, match="time_s must be non-negative")
    checks.raises("Erlang, q = 1", erlang_quantile, 1.0, 2, 1.0, match="probability must be in [0")
    checks.raises("q = 1", branch_quantile, 1.0, [1.0], [1.0], match="probability must be in (0, 1")
