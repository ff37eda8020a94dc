"""A percentile of n latencies is an estimate, and order statistics say how good it is, whatever the
distribution.

The number of latencies below the true q-quantile is binomial(n, q). Hence the interval between the
l-th and the u-th smallest contains the quantile with probability P(l ≤ B < u), and the r-th largest
is above it with probability P(n − B ≥ r).

Assumes: independent latencies of one continuous distribution. Neither holds for consecutive
requests of one busy server.

Source: Hyndman and Fan (1996) for the nine definitions of a sample quantile; Wilks (1941) for the
sample sizes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_non_negative,
    require_in,
    require_positive,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEN_MS = (42, 45, 47, 50, 52, 55, 61, 75, 110, 180)  # [ms] the ten requests of chapter Tail latency
LEVELS = {0.5: "p50", 0.95: "p95", 0.99: "p99", 0.999: "p99.9"}  # the percentiles that are quoted


def quantile(latencies: npt.ArrayLike, probability: float, definition: int = 7) -> float:
    """Sample quantile by one of the nine definitions of Hyndman and Fan, in the unit of the sample.

    latencies: shape (n,), non-negative, n ≥ 1. probability: q in [0, 1]. definition: 1 to 9; 1
    takes the ⌈nq⌉-th smallest, 7 interpolates between the ranks around 1 + (n−1)q and is numpy's
    default, 8 is nearly median-unbiased for any distribution. Raises ValueError outside these
    ranges.

    >>> quantile([10, 20, 30, 40], 0.5), quantile([10, 20, 30, 40], 0.5, definition=1)
    (25.0, 20.0)
    """
    definition = as_number(definition=definition)
    x = np.sort(as_floats(latencies=latencies), axis=None)
    require(np.ndim(latencies) == 1 and x.size > 0, "latencies", "non-empty (n,)", x.shape)
    require_all_non_negative(latencies=x)
    probability = require_in("[0, 1]", probability=probability)
    require(definition in range(1, 10), "definition", "an integer from 1 to 9", definition)
    shift = {3: -0.5, 5: 0.5, 6: probability, 7: 1 - probability}.get(definition, 0.0)
    shift = {8: (1 + probability) / 3, 9: 3 / 8 + probability / 4}.get(definition, shift)
    rank = round(x.size * probability + shift, 9)  # 100 × 0.07 is 7.000000000000001 in binary
    below = math.floor(rank)
    share = rank - below
    if definition == 1:
        share = float(share > 0)
    elif definition == 2:
        share = 1.0 if share > 0 else 0.5
    elif definition == 3:
        share = 0.0 if share == 0 and below % 2 == 0 else 1.0
    low, high = (x[min(max(r, 1), x.size) - 1] for r in (below, below + 1))
    return float(low + share * (high - low))


@dataclass(frozen=True)
class RankInterval:
    """Ranks of the order statistics that enclose a quantile, None where the sample has no bound,
    and the probability that they do."""

    lower: int | None
    upper: int | None
    coverage: float


def quantile_ranks(count: int, probability: float, confidence: float = 0.95) -> RankInterval:
    """Ranks l < u such that the true q-quantile lies between the l-th and the u-th smallest.

    count: n ≥ 1 latencies. probability: q in (0, 1). confidence: c in (0, 1). Each side is missed
    with probability (1−c)/2 at most; a side for which the sample is too small is None. Raises
    ValueError outside these ranges.

    >>> quantile_ranks(6, 0.5)
    RankInterval(lower=1, upper=6, coverage=0.96875)
    """
    count = require_positive_integer(count=count)
    probability, confidence = require_in("(0, 1)", probability=probability, confidence=confidence)
    # B ≤ k − 1 of n are below: all k within 12 deviations, outside of which nothing counts
    wide = 100 + 12 * math.sqrt(count * probability * (1 - probability))
    require_work(2 * wide, count=count)
    first = max(0, math.floor(count * probability - wide))
    k = np.arange(first + 1, 1 + min(count, math.ceil(count * probability + wide)))
    odds = math.log(probability) - math.log1p(-probability)
    steps = np.concatenate([[0.0], np.cumsum(np.log((count - k + 1) / k) + odds)])
    weights = np.exp(steps - steps.max())
    at_most = np.cumsum(weights) / weights.sum()  # P(B ≤ first), …
    miss = (1 - confidence) / 2
    lower = first + int(np.sum(at_most <= miss))
    upper = first + 1 + int(np.sum(at_most < 1 - miss))
    has_upper = upper <= count
    above = at_most[upper - 1 - first] if has_upper else 1.0
    below = at_most[lower - 1 - first] if lower > first else 0.0
    coverage = round(float(above - below), 12)
    return RankInterval(lower or None, upper if has_upper else None, coverage)


def quantile_interval(
    latencies: npt.ArrayLike, probability: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval for the true q-quantile from the order statistics, in the unit of the sample.

    latencies: shape (n,), non-negative, n ≥ 1. probability: q in (0, 1). confidence: in (0, 1). An
    end for which the sample is too small is 0 or infinite. Raises ValueError outside these ranges.

    >>> quantile_interval([3, 1, 4, 15, 9, 2], 0.5)
    (1.0, 15.0)
    >>> quantile_interval([3, 1, 4, 15, 9, 2], 0.9)
    (4.0, inf)
    """
    x = np.sort(as_floats(latencies=latencies), axis=None)
    require(np.ndim(latencies) == 1 and x.size > 0, "latencies", "non-empty (n,)", x.shape)
    require_all_non_negative(latencies=x)
    ranks = quantile_ranks(x.size, probability, confidence)
    low = 0.0 if ranks.lower is None else float(x[ranks.lower - 1])
    return low, math.inf if ranks.upper is None else float(x[ranks.upper - 1])


def wilks_sample_size(probability: float, confidence: float = 0.95, order: int = 1) -> int:
    """Fewest latencies whose r-th largest is at least the true q-quantile, with confidence c.

    probability: q in (0, 1). confidence: c in (0, 1). order: r ≥ 1; for r = 1 this is ⌈ln(1−c) / ln
    q⌉. The smallest n at which P(fewer than r of n above the quantile) ≤ 1 − c, by bisection.
    Raises ValueError outside these ranges.

    >>> wilks_sample_size(0.5, 0.75), wilks_sample_size(0.5, 0.75, order=2)
    (2, 5)
    """
    probability, confidence = require_in("(0, 1)", probability=probability, confidence=confidence)
    order = require_positive_integer(order=order)
    order = require_in("[1, 1e5]", order=order)

    def miss(n: int) -> float:
        term, total = probability**n, 0.0
        for j in range(order):
            total += term
            term *= (n - j) / (j + 1) * (1 - probability) / probability
        return total

    low, high = order - 1, order
    while miss(high) > 1 - confidence + 1e-12:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if miss(middle) > 1 - confidence + 1e-12 else (low, middle)
    return high


def quantile_standard_error(probability: float, count: int, density: float) -> float:
    """Standard error of a sample quantile of many latencies, √(q(1−q)/n)/f.

    probability: q in (0, 1). count: n ≥ 1. density: f > 0 of the latencies at the quantile [1 per
    unit of latency]. Raises ValueError outside these ranges.

    >>> quantile_standard_error(0.5, count=100, density=0.5)
    0.1
    """
    probability = require_in("(0, 1)", probability=probability)
    count = require_positive_integer(count=count)
    density = require_positive(density=density)
    return math.sqrt(probability * (1 - probability) / count) / density


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    all_p95 = [quantile(TEN_MS, 0.95, definition) for definition in range(1, 10)]
    median, p99 = quantile_ranks(100, 0.5), quantile_ranks(1000, 0.99)
    return SimpleNamespace(
        ten_p50_ms=quantile(TEN_MS, 0.5),
        ten_p95_ms=quantile(TEN_MS, 0.95),
        ten_p95_lowest_ms=min(all_p95),
        ten_p95_highest_ms=max(all_p95),
        ten_p95_low_ms=quantile_interval(TEN_MS, 0.95)[0],
        ten_confidence_percent=100 * (1 - 0.95 ** len(TEN_MS)),
        median_lower=median.lower or 0,
        median_upper=median.upper or 0,
        median_coverage_percent=100 * median.coverage,
        wilks_p95=wilks_sample_size(0.95),
        wilks_p99=wilks_sample_size(0.99),
        wilks_p999=wilks_sample_size(0.999),
        wilks_p99_third=wilks_sample_size(0.99, order=3),
        p99_of_1000_lower=p99.lower or 0,
        p99_of_1000_upper=p99.upper or 0,
        error_1000_percent=196 * _relative_error(0.99, 1000),
        p999_lowest_percent=100 * _relative_order_statistic(0.999, 1000, 0.025),
        p999_highest_percent=100 * _relative_order_statistic(0.999, 1000, 0.975),
    )


# ln of the quantiles of a log-normal latency with σ = 1: the standard normal quantiles
_NORMAL = {0.5: 0.0, 0.95: 1.6448536269514722, 0.99: 2.3263478740408408, 0.999: 3.090232306167813}


def _relative_error(probability: float, count: int) -> float:
    """Standard error of a log-normal quantile (σ = 1), relative to it: f(x)·x is the normal
    density."""
    density = math.exp(-(_NORMAL[probability] ** 2) / 2) / math.sqrt(2 * math.pi)
    return quantile_standard_error(probability, count, density)


def _relative_order_statistic(probability: float, count: int, share: float) -> float:
    """A quantile of the ⌈nq⌉-th smallest log-normal latency (σ = 1), relative to the true one.

    The k-th smallest of n uniform numbers is below u where at least k of n are.
    """
    rank = math.ceil(round(count * probability, 9))
    low, high = 0.0, 1.0
    for _ in range(60):
        u = (low + high) / 2
        tail = sum(
            math.comb(count, j) * u**j * (1 - u) ** (count - j) for j in range(rank, count + 1)
        )
        low, high = (u, high) if tail < share else (low, u)
    return math.exp(NormalDist().inv_cdf(high) - _NORMAL[probability]) - 1


def figure_percentile_error(figure: Figure) -> None:
    """One digit more in the percentile costs ten times as many requests for the same error.

    Log-normal latencies (σ = 1). Points: half of the range that holds the middle 95% of 280
    simulated estimates, with 95% bootstrap intervals; lines: the same by the formula, relative to
    the percentile.

    Alt: Relative 95% error of four percentiles against the number of requests, logarithmic axes.
    Four parallel lines fall by a factor of ten when the number grows a hundredfold; p50 is lowest
    and p99.9 highest, near 58% at a thousand requests. Simulated points lie on the lines, except
    those of p99.9 at few requests.
    """
    axes = figure.subplots()
    counts = np.array([100, 300, 1000, 3000])
    rng = np.random.default_rng(1996)
    drawn = (np.exp(rng.standard_normal((280, n))) for n in counts)
    estimated = [np.quantile(x, list(LEVELS), axis=1) for x in drawn]  # (levels, 280) each
    for place, (colour, q) in enumerate(zip(("C0", "C2", "C1", "C3"), LEVELS, strict=True)):
        line = 196 * np.array([_relative_error(q, n) for n in (100, 100_000)])
        axes.plot([100, 100_000], line, color=colour)
        shown = counts[counts * (1 - q) >= 1]
        spreads, bars = [], []
        for levels in estimated[-len(shown) :]:
            estimates = 50 / math.exp(_NORMAL[q]) * levels[place]
            again = rng.choice(estimates, (350, estimates.size))
            low, high = np.quantile([estimates], [0.025, 0.975], axis=1)
            spreads.append(float(high[0] - low[0]))
            low, high = np.quantile(again, [0.025, 0.975], axis=1)
            bars.append(np.abs(np.quantile(high - low, [0.025, 0.975]) - spreads[-1]))
        axes.errorbar(shown, spreads, np.array(bars).T, fmt="o", color=colour)
        axes.annotate(LEVELS[q], (110_000, line[-1]), color=colour, va="center")
    axes.set(xscale="log", yscale="log", xlim=(80, 350_000))
    axes.set_yticks([1, 10, 100], ["1%", "10%", "100%"])
    axes.set(xlabel="requests measured", ylabel="95% error of the percentile [%]")
    axes.minorticks_off()


def check_ten_latencies() -> None:
    """Ten latencies have a p95 of 148.5 ms or 180 ms, by definition, and no upper bound of it.

    Source: hand interpolation between ranks: 110 + 0.55·70; for an upper end the largest must be
    above the true p95 with probability 1 − 0.95^n ≥ 0.975, exact arithmetic.
    """
    checks.close("p50, linear [ms]", quantile(TEN_MS, 0.5), 53.5, atol=1e-9)
    checks.close("p95, linear [ms]", quantile(TEN_MS, 0.95), 148.5, atol=1e-9)
    checks.close("p95, tenth of ten [ms]", quantile(TEN_MS, 0.95, 1), 180.0, atol=1e-9)
    checks.equal("upper rank for p95", quantile_ranks(10, 0.95).upper, None)
    checks.holds("59 are needed", wilks_sample_size(0.95) > len(TEN_MS))
    checks.equal("upper rank for p95, n = 71", quantile_ranks(71, 0.95).upper, None)
    checks.equal("upper rank for p95, n = 72", quantile_ranks(72, 0.95).upper, 72)
    checks.holds("72 leave 2.5%, not 71", 0.95**72 <= 0.025 < 0.95**71)


def check_definitions_agree_with_numpy() -> None:
    """All nine definitions are numpy's.

    Source: `numpy.quantile`, which implements Hyndman and Fan (1996), on 37 irregular values.
    """
    methods = "inverted_cdf averaged_inverted_cdf closest_observation interpolated_inverted_cdf"
    methods += " hazen weibull linear median_unbiased normal_unbiased"
    x = np.sqrt(np.arange(37.0)) * 10
    levels = (0.0, 0.013, 0.25, 0.5, 0.777, 0.95, 0.99, 1.0)
    for number, method in enumerate(methods.split(), start=1):
        expected = [np.quantile(x, q, method=method) for q in levels]  # type: ignore[call-overload]
        checks.close(method, [quantile(x, q, number) for q in levels], expected, atol=1e-9)


def check_median_ranks() -> None:
    """Of a hundred latencies the 40th and the 61st enclose the true median with 96.5%.

    Source: the binomial sum Σ_{k=40}^{60} C(100, k)/2^100 in integers.
    """
    ranks = quantile_ranks(100, 0.5)
    exact = sum(math.comb(100, k) for k in range(40, 61)) / 2**100
    checks.equal("ranks", (ranks.lower, ranks.upper), (40, 61))
    checks.close("coverage", ranks.coverage, exact, atol=1e-12)
    checks.close("coverage, to seven digits", ranks.coverage, 0.9647998, atol=5e-8)


def check_wilks_sample_sizes() -> None:
    """It takes 59, 299 and 2995 latencies for the largest to bound p95, p99 and p99.9.

    Source: Wilks (1941); ⌈ln 0.05 / ln q⌉, and 1 − q^n ≥ 0.95 at n but not at n − 1.
    """
    for q, expected in ((0.95, 59), (0.99, 299), (0.999, 2995)):
        n = wilks_sample_size(q)
        checks.equal(f"{LEVELS[q]}", n, expected)
        checks.equal(f"{LEVELS[q]}, closed form", math.ceil(math.log(0.05) / math.log(q)), n)
        checks.holds(f"{LEVELS[q]}, no fewer", q**n <= 0.05 < q ** (n - 1))
    for order, expected in ((2, 93), (3, 124)):
        sums = [
            sum(math.comb(n, j) * 0.05**j * 0.95 ** (n - j) for j in range(order))
            for n in (expected - 1, expected)
        ]
        checks.equal(
            f"p95, rank {order} from the top", wilks_sample_size(0.95, order=order), expected
        )
        checks.holds(f"p95, rank {order}: just enough", sums[1] <= 0.05 < sums[0])


def check_interval_covers() -> None:
    """The interval for p95 of 200 exponential latencies covers it as often as the ranks say.

    Source: simulation of 3000 samples, true p95 = ln 20; standard error of the share, binomial.
    """
    ranks = quantile_ranks(200, 0.95)
    x = np.sort(np.random.default_rng(95).exponential(size=(3000, 200)), axis=1)
    low, high = x[:, (ranks.lower or 1) - 1], x[:, (ranks.upper or 200) - 1]
    share = float(((low < math.log(20)) & (math.log(20) < high)).mean())
    margin = 3 * math.sqrt(ranks.coverage * (1 - ranks.coverage) / 3000)
    checks.close("coverage", share, ranks.coverage, atol=margin, kind="simulation")


def check_standard_error() -> None:
    """The p99 of 2000 exponential latencies scatters by the formula's standard error.

    Source: simulation of 1000 samples; the standard error of a standard deviation is about 1/√2000
    of it. The density at the p99 of mean 1 is 0.01.
    """
    x = np.random.default_rng(99).exponential(size=(1000, 2000))
    spread = float(np.partition(x, 1979, axis=1)[:, 1979].std(ddof=1))
    expected = quantile_standard_error(0.99, 2000, density=0.01)
    checks.close("p99, spread", spread, expected, rtol=3 / math.sqrt(2000), kind="simulation")


def check_bad_input_is_refused() -> None:
    """Empty samples, negative latencies and impossible probabilities are errors that name the
    argument."""
    checks.raises("empty", quantile, [], 0.5, match="latencies must be non-empty")
    checks.raises("negative", quantile, [1, -1], 0.5, match="latencies must be non-negative")
    checks.raises("NaN", quantile_interval, [math.nan], 0.5, match="latencies must be non-neg")
    checks.raises("tenth", quantile, [1.0], 0.5, 10, match="definition must be an integer")
    checks.raises("no one", quantile_ranks, 0, 0.5, match="count must be a positive integer")
    checks.raises("p100", wilks_sample_size, 1.0, match="probability must be in (0, 1)")
    checks.raises("flat", quantile_standard_error, 0.5, 9, 0.0, match="density must be positive")
