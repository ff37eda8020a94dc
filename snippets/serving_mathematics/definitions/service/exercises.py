"""Exercises of the chapter on services: what a pipeline answers in the end, percentiles of merged
histograms, and a fallback behind a time-out.

Source: the Prometheus documentation for interpolation within a bucket; the rest by derivation and
against simulation.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.definitions.service.service import (
    Service,
    answered_within,
    on_grid,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_non_negative,
    require_in,
    require_positive_integer,
)

BOUNDS_S = (0.5, 1.0, 2.0, 5.0)  # of the buckets on the dashboard
REPLICAS = ((900, 80, 15, 5), (880, 95, 20, 5), (20, 60, 90, 30))  # requests in each
HINTS = {
    "end_to_end": (
        "Shares of parts in a row multiply. In a bad state every try fails; outside of it a try "
        "fails with (f − state·f)/(1 − state·f), and tries are independent."
    ),
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
}


def end_to_end(shares: npt.ArrayLike, tries: int, state: float) -> float:
    """Share of requests that a pipeline answers in the end, when its last part is tried again.

    shares: of the calls that each part answers, shape (n,), in [0, 1]. tries: of the last part, at
    least 1. state: in [0, 1], share of the last part's failures that come from a state which all
    tries of a request meet; the others are independent. Raises ValueError outside these ranges.

    >>> round(end_to_end([0.9, 0.8], tries=2, state=0.0), 12)  # 0.9·(1 − 0.2²)
    0.864
    """
    parts = as_floats(shares=shares)
    require(parts.ndim == 1 and parts.size > 0, "shares", "of shape (n,)", parts.shape)
    require(bool(np.all((parts >= 0) & (parts <= 1))), "shares", "in [0, 1]", parts)
    tries, state = require_positive_integer(tries=tries), require_in("[0, 1]", state=state)
    fails = 1 - float(parts[-1])
    bad = state * fails  # in a bad state everything fails
    alone = (fails - bad) / (1 - bad) if bad < 1 else 0.0
    return float(np.prod(parts[:-1])) * (1 - bad) * (1 - alone ** int(tries))


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
    checks.close("the first begins at 0", merged_quantile([2, 3], [[4, 0], [0, 0]], 0.25), 0.5)


def check_fallback() -> None:
    """An exponential primary falls back as often as it outlasts the time-out, and failures fall
    back at once.

    Source: the share e^{−τ/m} that falls back; two services with failures by hand.
    """
    cells, step = 2000, 0.0005
    never = np.zeros(cells)
    slow = Service(on_grid(lambda t: -np.expm1(-t / 0.1), step, cells), never, step, 5.0)
    quick = Service(on_grid(lambda t: -np.expm1(-t / 0.02), step, cells), never, step, 1.0)
    both = with_fallback(slow, quick, 300)
    share = math.exp(-300.5 * step / 0.1)
    checks.close("cost", both.cost, 5 + share, rtol=1e-9)
    checks.close("answered in the end", answered_within(both, 0.9), 1.0, atol=1e-9)
    flaky = Service(np.array([0, 0.5, 0, 0]), np.array([0.25, 0, 0.25, 0]), 1.0, 2.0)
    spare = Service(np.array([0, 0.5, 0, 0]), np.array([0, 0, 0.5, 0]), 1.0, 4.0)
    result = with_fallback(flaky, spare, 1)
    checks.close("answered", result.ok, [0, 0.625, 0.125, 0], atol=1e-15)
    checks.close("failed", result.failed, [0, 0, 0.125, 0.125], atol=1e-15)
    checks.close("cost, half fall back", result.cost, 2 + 0.5 * 4, rtol=1e-12)


def example() -> SimpleNamespace:
    """Answers to the exercises, in percent."""
    parts = (0.999, 0.999, 0.99)
    return SimpleNamespace(
        pencil_once=100 * end_to_end(parts, 1, 0.0),
        pencil_apart=100 * end_to_end(parts, 2, 0.0),
        pencil_state=100 * end_to_end(parts, 2, 0.5),
        board_p95=merged_quantile(BOUNDS_S, REPLICAS, 0.95),
        board_mean=float(np.mean([merged_quantile(BOUNDS_S, [row], 0.95) for row in REPLICAS])),
    )


def check_end_to_end() -> None:
    """Shares multiply, independent tries square the failures, and a shared state stays.

    Source: by hand; 200,000 simulated requests with their standard error.
    """
    checks.close("one try", end_to_end([0.9, 0.5], 1, 0.7), 0.45, rtol=1e-12)
    checks.close("all of it a state", end_to_end([1.0, 0.8], 5, 1.0), 0.8, rtol=1e-12)
    checks.close("three tries", end_to_end([0.5], 3, 0.0), 0.875, rtol=1e-12)
    rng, size = np.random.default_rng(70), 200_000
    bad = rng.random(size) < 0.4 * 0.2
    alone = (0.2 - 0.08) / (1 - 0.08)
    failed = bad | (rng.random((3, size)) < alone).all(axis=0)
    answered = ~failed & (rng.random(size) < 0.95)
    checks.covers("simulated", batch_means(answered.astype(float)), end_to_end([0.95, 0.8], 3, 0.4))
