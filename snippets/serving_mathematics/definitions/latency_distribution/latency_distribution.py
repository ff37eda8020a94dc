"""A percentile of n latencies is an estimate, and order statistics say how good it is, whatever the
distribution.

The number of latencies below the true q-quantile is binomial(n, q). Hence the interval between the
l-th and the u-th smallest contains the quantile with probability P(l ≤ B < u), and the largest is
above it with probability 1 − q^n.

Assumes: independent latencies of one continuous distribution. Neither holds for consecutive
requests of one busy server.

Source: Thompson (1936) for the interval between ranks; Wilks (1941) for the sample sizes; Hyndman
and Fan (1996) for the nine definitions of a sample quantile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require_in,
    require_positive_integer,
    require_work,
)

TEN_MS = (42, 45, 47, 50, 52, 55, 61, 75, 110, 180)  # [ms] the ten requests of chapter Tail latency
LEVELS = {0.5: "p50", 0.95: "p95", 0.99: "p99", 0.999: "p99.9"}  # the percentiles that are quoted


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


def wilks_sample_size(probability: float, confidence: float = 0.95) -> int:
    """Fewest latencies whose largest is at least the true q-quantile with confidence c, ⌈ln(1−c)/ln
    q⌉.

    probability: q in (0, 1). confidence: c in (0, 1). Raises ValueError outside these ranges.

    >>> wilks_sample_size(0.5, 0.75)
    2
    """
    probability, confidence = require_in("(0, 1)", probability=probability, confidence=confidence)
    return max(1, math.ceil(round(math.log1p(-confidence) / math.log(probability), 9)))


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    return SimpleNamespace(
        wilks_p99=wilks_sample_size(0.99),
        both_ends_p99=wilks_sample_size(0.99, 0.975),  # half of the doubt above
    )


def check_ten_latencies() -> None:
    """Ten latencies have a p95 of 148.5 ms, by interpolation, and no upper bound on it.

    Source: hand interpolation between ranks: 110 + 0.55·70; for an upper end the largest must be
    above the true p95 with probability 1 − 0.95^n ≥ 0.975, exact arithmetic.
    """
    checks.close("p95, linear [ms]", float(np.quantile(TEN_MS, 0.95)), 148.5, atol=1e-9)
    checks.equal("upper rank for p95", quantile_ranks(10, 0.95).upper, None)
    checks.equal("upper rank for p95, n = 71", quantile_ranks(71, 0.95).upper, None)
    checks.equal("upper rank for p95, n = 72", quantile_ranks(72, 0.95).upper, 72)
    checks.holds("72 leave 2.5%, not 71", 0.95**72 <= 0.025 < 0.95**71)


def check_wilks_sample_sizes() -> None:
    """It takes 59, 299 and 2995 latencies for the largest to bound the p95, the p99 and the p99.9;
    an interval for a p99 has two ends from 368 latencies.

    Source: Wilks (1941); 1 − q^n ≥ 0.95 at n but not at n − 1; 0.99^368 is 2.48%, of the 2.5% that
    one side may miss.
    """
    for count, upper in ((299, None), (367, None), (368, 368)):
        checks.equal(f"upper rank of {count}", quantile_ranks(count, 0.99).upper, upper)
    checks.equal("both ends, p99", example().both_ends_p99, 368)
    for q, expected in ((0.95, 59), (0.99, 299), (0.999, 2995)):
        n = wilks_sample_size(q)
        checks.equal(f"{LEVELS[q]}", n, expected)
        checks.holds(f"{LEVELS[q]}, no fewer", q**n <= 0.05 < q ** (n - 1))
