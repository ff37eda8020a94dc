"""A service is a law of how a request ends, when, and at what cost; to compose services is to
compose these laws, not their percentiles.

Latency is kept on a grid of cells of width h, apart for answered and failed requests. In sequence
latencies convolve and success probabilities multiply; in parallel the distribution functions
multiply; a branch is a mixture; a retry is a geometric sum. The end of the grid is the deadline of
the caller: what comes later is lost, and what comes before is not affected by the cut.

Assumes: parts that are composed are independent of one another, given the state they share.

Source: Beyer, Jones, Petoff and Murphy (2016), chapter 4, for indicators; the rest from the
definitions of convolution and mixture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_work,
    widen_fields,
)

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Service:
    """What a service does to a random request: when it ends, how it ends, and what it costs.

    ok, failed: probability to end in the cell around k·step_s as answered or as failed, each of
    shape (n,), together at most 1; the rest ends after the grid. step_s: width of a cell [s].
    cost: mean cost of a request [any unit]. Raises ValueError on anything else.

    >>> Service(ok=np.array([0.0, 0.9]), failed=np.array([0.1, 0.0]), step_s=0.01, cost=2.0).cost
    2.0
    """

    ok: FloatArray
    failed: FloatArray
    step_s: float
    cost: float

    def __post_init__(self) -> None:
        """Refuse what is not a distribution on the grid."""
        widen_fields(self)
        for name in ("ok", "failed"):
            masses = as_floats(**{name: getattr(self, name)})
            object.__setattr__(self, name, masses)
            require(masses.ndim == 1 and masses.size > 1, name, "of shape (n,)", masses.shape)
            require((masses >= 0) & (masses <= 1), name, "in [0, 1]", masses)
        same = f"of shape {self.ok.shape} as ok"
        require(self.failed.shape == self.ok.shape, "failed", same, self.failed.shape)
        total = float(self.ok.sum() + self.failed.sum())
        require(total <= 1 + 1e-9, "ok and failed", "at most 1 together", total)
        require_positive(step_s=self.step_s)
        require_non_negative(cost=self.cost)


def on_grid(cdf: Callable[[FloatArray], FloatArray], step_s: float, cells: int) -> FloatArray:
    """Probability of each cell ((k−½)h, (k+½)h] of a latency, shape (cells,).

    cdf: distribution function of a positive latency, of times [s]. step_s: h [s]. cells: n ≥ 2.
    Raises ValueError on a bad grid, or when the function falls or leaves [0, 1].

    >>> on_grid(lambda t: np.minimum(t / 4, 1.0), step_s=1.0, cells=4).tolist()
    [0.125, 0.25, 0.25, 0.25]
    """
    cells = as_number(cells=cells)
    step_s = require_positive(step_s=step_s)
    require(2 <= cells < math.inf and cells % 1 == 0, "cells", "an integer of 2 or more", cells)
    require_work(cells, cells=cells)
    below = np.array(cdf((np.arange(cells, dtype=np.float64) + 0.5) * step_s), dtype=np.float64)
    require(below.shape == (cells,), "cdf", f"of shape ({cells},)", below.shape)
    masses = np.diff(below, prepend=0.0)
    require((masses >= 0) & (below <= 1), "cdf", "rising within [0, 1]", below)
    return masses


def in_sequence(first: Service, second: Service) -> Service:
    """One service after the other: latencies convolve, and a failure of the first ends it.

    first, second: services on the same grid. The second costs only what reaches it. Raises
    ValueError on different grids.

    >>> half = Service(np.array([0, 0.5, 0]), np.array([0.5, 0, 0]), step_s=1.0, cost=1.0)
    >>> both = in_sequence(half, half)
    >>> both.ok.tolist(), both.failed.tolist(), both.cost
    ([0.0, 0.0, 0.25], [0.5, 0.25, 0.0], 1.5)
    """
    _require_one_grid(first, second)
    cells = first.ok.size
    require_work(cells**2 / 10, first=cells)
    ok = np.convolve(first.ok, second.ok)[:cells]
    failed = first.failed + np.convolve(first.ok, second.failed)[:cells]
    return Service(ok, failed, first.step_s, first.cost + float(first.ok.sum()) * second.cost)


def in_parallel(first: Service, second: Service) -> Service:
    """Both at once, both needed: it ends with the slower, and is answered if both are.

    first, second: services on the same grid. Both are paid. Raises ValueError on different grids.

    >>> half = Service(np.array([0, 0.5, 0]), np.array([0, 0, 0.5]), step_s=1.0, cost=1.0)
    >>> both = in_parallel(half, half)
    >>> both.ok.tolist(), both.failed.tolist(), both.cost
    ([0.0, 0.25, 0.0], [0.0, 0.0, 0.75], 2.0)
    """
    _require_one_grid(first, second)
    first_ok, first_failed = np.cumsum(first.ok), np.cumsum(first.failed)
    second_ok, second_failed = np.cumsum(second.ok), np.cumsum(second.failed)
    ok = np.diff(first_ok * second_ok, prepend=0.0)
    ended = (first_ok + first_failed) * second_failed + first_failed * second_ok
    failed = np.diff(ended, prepend=0.0)
    return Service(ok, failed, first.step_s, first.cost + second.cost)


def either(share: float, usual: Service, other: Service) -> Service:
    """A branch, or a state: the other service for a share of the requests, else the usual one.

    share: probability of the other, in [0, 1]. usual, other: services on the same grid. Raises
    ValueError on a share outside its range or different grids.

    >>> fast = Service(np.array([1.0, 0.0]), np.zeros(2), step_s=1.0, cost=1.0)
    >>> slow = Service(np.array([0.0, 1.0]), np.zeros(2), step_s=1.0, cost=5.0)
    >>> either(0.25, fast, slow).ok.tolist(), either(0.25, fast, slow).cost
    ([0.75, 0.25], 2.0)
    """
    share = require_in("[0, 1]", share=share)
    _require_one_grid(usual, other)
    ok = (1 - share) * usual.ok + share * other.ok
    failed = (1 - share) * usual.failed + share * other.failed
    return Service(ok, failed, usual.step_s, (1 - share) * usual.cost + share * other.cost)


def retried(attempt: Service, attempts: int) -> Service:
    """Try again at once after a failure, up to a number of attempts that fail independently.

    attempt: one attempt. attempts: at least 1. A failed attempt has cost its time and its money.
    Raises ValueError on a bad number.

    >>> half = Service(np.array([0, 0.5, 0]), np.array([0, 0.5, 0]), step_s=1.0, cost=1.0)
    >>> twice = retried(half, attempts=2)
    >>> twice.ok.tolist(), twice.failed.tolist(), twice.cost
    ([0.0, 0.5, 0.25], [0.0, 0.0, 0.25], 1.5)
    """
    attempts = require_positive_integer(attempts=attempts)
    attempts = require_in("[1, 1e4]", attempts=attempts)
    cells = attempt.ok.size
    require_work(attempts * cells**2 / 10, attempts=attempts)
    ok, pending, cost = attempt.ok, attempt.failed, attempt.cost
    for _ in range(int(attempts) - 1):
        ok = ok + np.convolve(pending, attempt.ok)[:cells]
        cost += float(pending.sum()) * attempt.cost
        pending = np.convolve(pending, attempt.failed)[:cells]
    return Service(ok, pending, attempt.step_s, cost)


def answered_within(service: Service, threshold_s: float) -> float:
    """Share of all requests that are answered within a time; failures count as never.

    threshold_s: [s], from 0 to the end of the grid. A cell's probability is spread evenly over it.
    Raises ValueError outside this range.

    >>> answered_within(Service(np.array([0, 0.5, 0.4]), np.array([0, 0.1, 0]), 1.0, 0.0), 2.0)
    0.7
    """
    threshold_s = as_number(threshold_s=threshold_s)
    edges = np.concatenate([[0.0], (np.arange(service.ok.size) + 0.5) * service.step_s])
    end = float(edges[-1])
    require(0 <= threshold_s <= end, "threshold_s", f"in [0, {end:g}]", threshold_s)
    below = np.concatenate([[0.0], np.cumsum(service.ok)])
    return float(np.interp(threshold_s, edges, below))


def answer_quantile(service: Service, probability: float) -> float:
    """Time by which a share of all requests is answered [s], the inverse of `answered_within`.

    probability: the share, in (0, 1). Raises ValueError outside this range, and when the grid ends,
    or too many requests fail, before that many are answered.

    >>> answer_quantile(Service(np.array([0, 0.5, 0.4]), np.array([0, 0.1, 0]), 1.0, 0.0), 0.7)
    2.0
    """
    probability = require_in("(0, 1)", probability=probability)
    below = np.cumsum(service.ok)
    most = float(below[-1])
    enough = probability <= most * (1 + 1e-12)  # 0.3 three times is less than 0.9
    require(enough, "probability", f"at most {most:g}, the share answered", probability)
    probability = min(probability, most)
    cell = int(np.searchsorted(below, probability))
    start, before = (cell - 0.5, float(below[cell - 1])) if cell else (0.0, 0.0)
    width = 1.0 if cell else 0.5
    return service.step_s * (start + width * (probability - before) / float(service.ok[cell]))


def _require_one_grid(first: Service, second: Service) -> None:
    """Refuse to compose services whose latencies are on different grids."""
    grid, other = (first.step_s, first.ok.size), (second.step_s, second.ok.size)
    require(grid == other, "grid (step_s, cells)", f"the same for both, {grid}", other)


def example() -> SimpleNamespace:
    """The numbers quoted in the text, in percent and as factors."""
    _, apart, shared = _retry_cases()
    return SimpleNamespace(
        shared_failed_percent=100 * float(shared.failed.sum()),
        shared_factor=float(shared.failed.sum() / apart.failed.sum()),
        bad_state_cost=retried(_stage(20.0, 0.1, 1.0), 3).cost,
    )


def _stage(mean_ms: float, availability: float = 1.0, cost: float = 0.0) -> Service:
    """Exponential latency on 600 ms of cells, the same for answers and failures."""
    masses = on_grid(lambda t: -np.expm1(-1000 * t / mean_ms), 0.0002, 3000)
    return Service(availability * masses, (1 - availability) * masses, 0.0002, cost)


def _retry_cases() -> tuple[Service, Service, Service]:
    """One attempt, three attempts in states of their own, and three in one state: 2% of the time
    the backend is bad and fails 90% of its requests instead of 1%."""
    good, bad = _stage(20.0, 0.99, 1.0), _stage(20.0, 0.1, 1.0)
    once = either(0.02, good, bad)
    return once, retried(once, 3), either(0.02, retried(good, 3), retried(bad, 3))


def figure_shared_state(figure: Figure) -> None:
    """Retries repair random failures, and few of those that a shared state causes.

    A single attempt fails equally often in all three cases. The latency of an attempt is
    exponential with a mean of 20 ms.

    Alt: Line chart on a logarithmic axis of the share of requests without an answer against time
    since the request, up to 400 milliseconds. One attempt levels off near 3 percent. Three attempts
    in one shared state level off near 1.5 percent. Three independent attempts level off near
    0.002 percent.
    """
    axes = figure.subplots()
    once, apart, shared = _retry_cases()
    time = np.linspace(0.0, 0.4, 100)
    for name, service, colour, spot in (
        ("one attempt", once, "C4", (270, 3.8)),
        ("three attempts, one state", shared, "C3", (210, 0.66)),
        ("three attempts, independent", apart, "C0", (8, 0.0025)),
    ):
        waiting = [100 - 100 * answered_within(service, float(t)) for t in time]
        axes.semilogy(1000 * time, waiting, color=colour)
        axes.annotate(name, spot, color=colour)
    axes.set(
        xlim=(0, 400),
        ylim=(1e-3, 100),
        xlabel="time since the request [ms]",
        ylabel="without an answer [%]",
    )
    axes.minorticks_off()


def check_shared_state() -> None:
    """A backend that is bad 2% of the time makes three attempts fail nearly 700 times as often as
    three independent ones, though each attempt fails equally often.

    Source: by hand, E[f] = 0.98·0.01 + 0.02·0.9; then E[f]³ against E[f³].
    """
    once, apart, shared = _retry_cases()
    checks.close("one attempt fails", once.failed.sum(), 0.0278, rtol=1e-9)
    checks.close("independent", apart.failed.sum(), 0.0278**3, rtol=1e-6)
    checks.close("one state", shared.failed.sum(), 0.98 * 1e-6 + 0.02 * 0.729, rtol=1e-6)
    ratio = float(shared.failed.sum() / apart.failed.sum())
    checks.close("ratio", ratio, (0.98e-6 + 0.01458) / 0.0278**3, rtol=1e-6)
