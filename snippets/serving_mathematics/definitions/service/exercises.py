"""Exercises of the chapter on services: percentiles of merged histograms, a fallback behind a
time-out, and a threshold when reviewers are scarce.

Source: the Prometheus documentation for interpolation within a bucket; Elkan (2001) for the
threshold without a limit; the rest by derivation and against simulation.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.definitions.service.service import (
    Service,
    answer_quantile,
    answered_within,
    on_grid,
)
from serving_mathematics.definitions.service.thresholded_decision import (
    cost_threshold,
    expected_cost,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_non_negative,
    require_in,
    require_non_negative_integer,
)

HINTS = {
    "merged_quantile": (
        "Add the counts of the replicas bucket by bucket, find the bucket in which the rank "
        "falls, and interpolate between its bounds. The first bucket begins at 0; percentiles "
        "of replicas never enter."
    ),
    "with_fallback": (
        "Split the primary in three: in time, failed before the time-out, silent. The second "
        "keeps its own times and the third sits at the time-out; both are convolved with the "
        "fallback, and only they pay for it."
    ),
    "reviewable_threshold": (
        "Begin with the threshold of lowest cost and see whether its escalations fit. If not, "
        "raise it to the lowest score that fits, and mind that equal scores are escalated "
        "together."
    ),
}


def merged_quantile(bounds_s: npt.ArrayLike, counts: npt.ArrayLike, probability: float) -> float:
    """Quantile over all replicas from their latency histograms: add counts, then interpolate [s].

    bounds_s: upper bounds of the buckets, positive and rising, shape (b,). counts: requests in each
    bucket (not cumulative), shape (replicas, b). probability: in (0, 1). Within a bucket requests
    are taken as evenly spread, from 0 in the first. Raises ValueError outside these ranges and when
    there is no request.

    >>> merged_quantile([1.0, 2.0, 4.0], [[8, 0, 0], [0, 0, 8]], 0.75)
    3.0
    """
    bounds, table = as_floats(bounds_s=bounds_s), as_floats(counts=counts)
    require(bounds.ndim == 1 and bounds.size > 0, "bounds_s", "of shape (b,)", bounds.shape)
    rising = np.all(np.diff(bounds, prepend=0.0) > 0) and np.all(bounds < math.inf)
    require(rising, "bounds_s", "positive and finite and rising", bounds)
    shape = f"of shape (replicas, {bounds.size})"
    require(table.ndim == 2 and table.shape[1] == bounds.size, "counts", shape, table.shape)
    require_all_non_negative(counts=table)
    probability = require_in("(0, 1)", probability=probability)
    merged = table.sum(axis=0)
    total = float(merged.sum())
    require(total > 0, "counts", "of one request or more", total)
    rank = probability * total
    below = np.concatenate([[0.0], np.cumsum(merged)])
    bucket = int(np.searchsorted(below[1:], rank))
    low = float(bounds[bucket - 1]) if bucket else 0.0
    part = (rank - float(below[bucket])) / float(merged[bucket])
    return low + (float(bounds[bucket]) - low) * part


def with_fallback(primary: Service, fallback: Service, timeout_cells: int) -> Service:
    """Use the primary's answer if it comes by a time-out, else start the fallback.

    primary, fallback: services on one grid. timeout_cells: the time-out in steps of the grid, a
    positive integer within it; an answer in that cell is in time. A failure before the time-out
    starts the fallback at once, silence starts it at the time-out. The primary is always paid.
    Raises ValueError on other time-outs and grids.

    >>> slow = Service(np.array([0, 0.6, 0, 0.4]), np.zeros(4), step_s=1.0, cost=5.0)
    >>> spare = Service(np.array([0, 1.0, 0, 0]), np.zeros(4), step_s=1.0, cost=1.0)
    >>> with_fallback(slow, spare, timeout_cells=1).ok.tolist()
    [0.0, 0.6, 0.4, 0.0]
    """
    timeout_cells = as_number(timeout_cells=timeout_cells)
    grid = (primary.step_s, primary.ok.size)
    other = (fallback.step_s, fallback.ok.size)
    require(grid == other, "fallback", f"on the grid {grid}", other)
    cells = primary.ok.size
    inside = 1 <= timeout_cells < cells and timeout_cells % 1 == 0
    require(inside, "timeout_cells", f"an integer in [1, {cells})", timeout_cells)
    last = int(timeout_cells) + 1
    in_time, given_up = np.zeros(cells), np.zeros(cells)
    in_time[:last], given_up[:last] = primary.ok[:last], primary.failed[:last]
    given_up[last - 1] += 1 - float(in_time.sum() + given_up.sum())
    ok = in_time + np.convolve(given_up, fallback.ok)[:cells]
    failed = np.convolve(given_up, fallback.failed)[:cells]
    cost = primary.cost + float(given_up.sum()) * fallback.cost
    return Service(ok, failed, primary.step_s, cost)


def reviewable_threshold(
    scores: npt.ArrayLike,
    capacity: int,
    false_positive_cost: float,
    false_negative_cost: float,
) -> float:
    """The cheapest threshold that escalates at most as many of these requests as can be reviewed.

    scores: calibrated probabilities, shape (n,). capacity: reviews at hand, 0 or more; requests of
    the same score are escalated together or not at all. Returns c_fp/(c_fp + c_fn) if it fits, else
    the lowest score that fits, or infinity when none does. Raises ValueError on bad input.

    >>> reviewable_threshold([0.05, 0.20, 0.45, 0.80, 0.95], 3, 1.0, 9.0)
    0.45
    """
    best = cost_threshold(false_positive_cost, false_negative_cost)
    p = as_floats(scores=scores)
    require(p.ndim == 1 and p.size > 0, "scores", "of shape (n,)", p.shape)
    require(np.all((p >= 0) & (p <= 1)), "scores", "in [0, 1]", p)
    capacity = require_non_negative_integer(capacity=capacity)
    levels = np.unique(p)
    reviews = p.size - np.searchsorted(np.sort(p), levels)  # how many score at least this
    if int((p >= best).sum()) <= capacity:
        return best
    fitting = levels[reviews <= capacity]
    return float(fitting[0]) if fitting.size else math.inf


def check_merged_histograms() -> None:
    """The p95 of a fleet comes from added counts; the mean of its replicas' p95 is another number.

    Source: the pooled sample of three replicas, sorted, to within a bucket of 5 ms; two buckets by
    hand.
    """
    rng = np.random.default_rng(68)
    fleet = [rng.exponential(mean, n) for mean, n in ((0.01, 9000), (0.02, 3000), (0.2, 500))]
    bounds = 0.005 * np.arange(1, 801)
    edges = np.concatenate([[0.0], bounds])
    counts = np.array([np.histogram(sample, edges)[0] for sample in fleet])
    merged = merged_quantile(bounds, counts, 0.95)
    pooled = float(np.sort(np.concatenate(fleet))[int(0.95 * counts.sum())])
    checks.close("p95 of the fleet [s]", merged, pooled, atol=0.005)
    alone = [merged_quantile(bounds, row[None, :], 0.95) for row in counts]
    checks.holds("mean of p95s is over 3 times that", float(np.mean(alone)) > 3 * merged)
    checks.close("two buckets by hand", merged_quantile([1, 3], [[2, 1], [0, 1]], 0.75), 2.0)


def check_fallback() -> None:
    """An exponential primary with a time-out falls back as often and as late as simulated.

    Source: the share e^{−τ/m} that falls back; 100,000 simulated requests with their standard
    error; two services with failures by hand.
    """
    cells, step = 2000, 0.0005
    never = np.zeros(cells)
    slow = Service(on_grid(lambda t: -np.expm1(-t / 0.1), step, cells), never, step, 5.0)
    quick = Service(on_grid(lambda t: -np.expm1(-t / 0.02), step, cells), never, step, 1.0)
    both = with_fallback(slow, quick, 300)
    share = math.exp(-300.5 * step / 0.1)
    checks.close("cost", both.cost, 5 + share, rtol=1e-9)
    rng = np.random.default_rng(69)
    first, second = rng.exponential(0.1, 100_000), rng.exponential(0.02, 100_000)
    latency = np.where(first <= 0.15, first, 0.15 + second)
    p99 = answer_quantile(both, 0.99)
    late = batch_means(np.asarray(latency > p99, dtype=float))
    checks.covers("share beyond the p99", late, 0.01)
    checks.close("answered in the end", answered_within(both, 0.9), 1.0, atol=1e-9)
    flaky = Service(np.array([0, 0.5, 0, 0]), np.array([0.25, 0, 0.25, 0]), 1.0, 2.0)
    spare = Service(np.array([0, 0.5, 0, 0]), np.array([0, 0, 0.5, 0]), 1.0, 4.0)
    result = with_fallback(flaky, spare, 1)
    checks.close("answered", result.ok, [0, 0.625, 0.125, 0], atol=1e-15)
    checks.close("failed", result.failed, [0, 0, 0.125, 0.125], atol=1e-15)
    checks.close("cost, half fall back", result.cost, 2 + 0.5 * 4, rtol=1e-12)


def check_reviewable_threshold() -> None:
    """No other threshold within the capacity is cheaper.

    Source: brute force over every score and one threshold beyond, on 60 random requests, for six
    capacities.
    """
    scores = np.round(np.random.default_rng(70).beta(1.0, 3.0, 60), 2)
    candidates = [*np.unique(scores).tolist(), 1.0]
    for capacity in (1, 5, 20, 30, 40, 60):
        chosen = reviewable_threshold(scores, capacity, 2.0, 6.0)
        cost = expected_cost(scores, chosen, 2.0, 6.0)
        costs = [
            expected_cost(scores, t, 2.0, 6.0)
            for t in candidates
            if int((scores >= t).sum()) <= capacity
        ]
        checks.close(f"cost with {capacity} reviews", cost, min(costs), rtol=1e-12)
        checks.holds("fits", int((scores >= chosen).sum()) <= capacity)


def check_bad_input_is_refused() -> None:
    """Falling bounds, empty histograms, half cells and NaN scores are errors."""
    two = Service(np.array([0.5, 0.5]), np.zeros(2), 1.0, 0.0)
    checks.raises("bounds", merged_quantile, [2, 1], [[1, 1]], 0.5, match="bounds_s must be posit")
    checks.raises("empty", merged_quantile, [1, 2], [[0, 0]], 0.5, match="one request or more")
    checks.raises("half a cell", with_fallback, two, two, 0.5, match="timeout_cells must be an int")
    checks.raises("NaN", reviewable_threshold, [math.nan], 1, 1.0, 1.0, match="scores must be in")
