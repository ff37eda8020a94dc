"""Solutions of the exercises: requests to measure, fixed buckets, verdicts on an objective.

Source: the binomial distribution for the verdict; the rest is derived at each function.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.definitions.latency_distribution.latency_distribution import (
    wilks_sample_size,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_in,
    require_positive_integer,
    require_work,
)

HINTS = {
    "objective_verdict": (
        "Take the limiting case, a share of exactly 1 − q beyond the limit, and compute the "
        "binomial tail on either side of what you saw. Both tails include the observed count "
        "itself."
    ),
    "bucket_bounds": (
        "Add the counts of all replicas first, then find the bucket in which the ⌈nq⌉-th "
        "latency lies. Averaging the replicas' percentiles is the usual mistake."
    ),
    "requests_to_measure": (
        "Independent requests first: the smallest n with qⁿ ≤ 1 − c. Then D times as many, "
        "rounded up."
    ),
}


def requests_to_measure(probability: float, confidence: float, effect: float) -> int:
    """Requests enough for their largest latency to be above the true q-quantile, with confidence c.

    probability: q in (0, 1). confidence: c in (0, 1). effect: D ≥ 1, by which slow requests come
    together. D times as many as independent ones, rounded up: no mean clump is larger than D, and
    equal clumps are as large. Raises ValueError outside these ranges.

    >>> requests_to_measure(probability=0.5, confidence=0.75, effect=2.5)
    5
    """
    probability, confidence = require_in("(0, 1)", probability=probability, confidence=confidence)
    effect = require_in("[1, 1e6]", effect=effect)
    return math.ceil(effect * wilks_sample_size(probability, confidence) - 1e-9)


def objective_verdict(late: int, total: int, probability: float, confidence: float = 0.95) -> str:
    """Whether a latency objective "q of the requests within the limit" is met, missed or undecided.

    late: 0 ≤ k ≤ total requests beyond the limit. total: n ≥ 1. probability: q in (0, 1).
    confidence: c in (0, 1). "met" when k or fewer late ones would have a probability of at most 1 −
    c at an allowed share of exactly 1 − q, "missed" when k or more would. Raises ValueError outside
    these ranges.

    >>> objective_verdict(0, 5, probability=0.5), objective_verdict(0, 4, probability=0.5)
    ('met', 'undecided')
    """
    late = as_number(late=late)
    total = require_positive_integer(total=total)
    require_work(4.0 * total, total=total)
    rule = f"an integer from 0 to {total}"
    require(late % 1 == 0 and 0 <= late <= total, "late", rule, late)
    probability, confidence = require_in("(0, 1)", probability=probability, confidence=confidence)
    k, odds = np.arange(1.0, total + 1), math.log1p(-probability) - math.log(probability)
    steps = np.append(0.0, np.cumsum(np.log((total - k + 1) / k) + odds))
    terms = np.exp(steps - steps.max())  # binomial, but for a factor
    if terms[: int(late) + 1].sum() <= (1 - confidence) * terms.sum():
        return "met"
    return "missed" if terms[int(late) :].sum() <= (1 - confidence) * terms.sum() else "undecided"


def bucket_bounds(
    edges: npt.ArrayLike, counts: npt.ArrayLike, probability: float
) -> tuple[float, float]:
    """Bounds of the q-quantile of a fleet from histograms with shared fixed buckets.

    edges: 0 ≤ e_0 < e_1 < … < e_m [s], shape (m+1,); the last may be infinite. counts: latencies of
    each replica in (e_j, e_{j+1}], shape (replicas, m), not all zero. probability: q in (0, 1].
    Returns the bucket of the ⌈nq⌉-th smallest latency of all: more is not known. Raises ValueError
    on other shapes, negative counts and unsorted edges.

    >>> bucket_bounds([0.0, 0.1, 1.0, math.inf], [[9, 1, 0], [5, 3, 2]], probability=0.9)
    (0.1, 1.0)
    """
    e, c = as_floats(edges=edges), as_floats(counts=counts)
    rising = e.ndim == 1 and e.size >= 2 and e[0] >= 0 and np.all(np.diff(e) > 0)
    require(rising, "edges", "rising from 0 or more", edges)
    require(c.ndim == 2 and c.shape[1] == e.size - 1, "counts", f"(r, {e.size - 1})", c.shape)
    valid = np.all((c >= 0) & (c < math.inf) & (c == np.floor(c))) and c.sum() > 0
    require(valid, "counts", "non-negative integers, not all zero", counts)
    probability = require_in("(0, 1]", probability=probability)
    rank = max(1, math.ceil(round(float(c.sum()) * probability, 9)))
    place = int(np.searchsorted(np.cumsum(c.sum(axis=0)), rank))
    return float(e[place]), float(e[place + 1])


def example() -> SimpleNamespace:
    """Answers to the exercises."""
    low, high = bucket_bounds([0.0, 0.1, 1.0, math.inf], [[9, 1, 0], [5, 3, 2]], 0.9)
    return SimpleNamespace(
        pencil_requests=requests_to_measure(0.999, 0.95, 15.0),
        board_low=low,
        board_high=high,
        four_late=objective_verdict(4, 200, 0.95),
        five_late=objective_verdict(5, 200, 0.95),
    )


def check_requests_to_measure() -> None:
    """Independent requests by hand; with slow requests in equal clumps of four, four times as many.

    Source: 0.9²⁹ ≤ 0.05 < 0.9²⁸. Windows of clumped latencies, simulated: each value is drawn once
    and repeated four times.
    """
    checks.equal("p90, independent", requests_to_measure(0.9, 0.95, 1.0), 29)
    checks.equal("36.25", requests_to_measure(0.9, 0.95, 1.25), 37)
    count = requests_to_measure(0.9, 0.95, 4.0)
    checks.equal("p90, clumps of four", count, 116)
    drawn = np.random.default_rng(4).random((4000, count // 4))
    share = float((drawn.max(axis=1) > 0.9).mean())
    checks.close("largest above the p90", share, 1 - 0.9**29, atol=0.012, kind="simulation")


def check_verdicts() -> None:
    """It takes at least 59 requests, and none of them late, to show that a p95 objective is met.

    Source: 0.95^59 ≤ 0.05 < 0.95^58, and 0.95^45 ≤ 0.1 < 0.95^44; for two late ones C(n, 0) …
    C(n, 2) in exact sums at n = 124.
    """
    checks.equal("0 of 59", objective_verdict(0, 59, 0.95), "met")
    checks.equal("0 of 58", objective_verdict(0, 58, 0.95), "undecided")
    at_90 = [objective_verdict(0, total, 0.95, confidence=0.9) for total in (44, 45)]
    checks.equal("0 of 44 and of 45, at 90%", at_90, ["undecided", "met"])
    checks.equal("2 of 124", objective_verdict(2, 124, 0.95), "met")
    checks.equal("2 of 123", objective_verdict(2, 123, 0.95), "undecided")
    at_least = sum(math.comb(100, j) * 0.05**j * 0.95 ** (100 - j) for j in range(10, 101))
    checks.holds("10 or more of 100", at_least < 0.05, got=at_least)
    checks.equal("10 of 100", objective_verdict(10, 100, 0.95), "missed")
    checks.equal("9 of 100", objective_verdict(9, 100, 0.95), "undecided")


def check_bucket_bounds() -> None:
    """The bucket of the pooled quantile is found from the counts alone.

    Source: the pooled latencies themselves, 3 replicas of 700 log-normal latencies, 99 levels; of
    three, ⌈1.2⌉ is the second.
    """
    checks.equal("second of 3", bucket_bounds([0, 1, 2, 4], [[1, 1, 0], [0, 0, 1]], 0.4), (1, 2))
    edges = np.array([0.0, 0.5, 1.0, 2.0, 5.0, math.inf])
    shift = np.array([[0.0], [0.5], [-1.0]])
    replicas = np.exp(np.random.default_rng(3).normal(size=(3, 700)) + shift)
    counts = [np.histogram(x, edges)[0] for x in replicas]
    missed = 0
    for q in np.linspace(0.01, 0.99, 99):
        low, high = bucket_bounds(edges, counts, q)
        missed += not low < np.quantile(replicas, q, method="inverted_cdf") <= high
    checks.equal("levels outside", missed, 0)


def check_bad_input_is_refused() -> None:
    """A p100, more late requests than there are requests and falling bounds are errors."""
    checks.raises("p100", requests_to_measure, 1.0, 0.9, 2.0, match="probability must be in (0, 1)")
    checks.raises(
        "3 of 2", objective_verdict, 3, 2, 0.9, match="late must be an integer from 0 to 2"
    )
    checks.raises("falling", bucket_bounds, [1.0, 0.5], [[1]], 0.5, match="edges must be rising")
