"""A window of a running service: its edges cancel on average and leave noise, and its own L moves.

A window [0, T] that opens on a busy service misses what those inside at 0 still spend, and counts
what those inside at T will spend beyond it. Both are λE[W²]/2 on average, so whole sojourns are
right in the mean. Each is a sum over the Poisson number inside of independent rests, with variance
λE[W³]/3, so λW is off by √(2λE[W³]/3)/(λWT) of L, one standard deviation. What the window holds is
another matter: its own L varies around the long run's, for M/M/1 by √(2ρ(1+ρ)/(1−ρ)⁴/T) in service
times.

Assumes: for the noise, Poisson arrivals and sojourns that do not depend on one another, T longer
than they are; for the window's own L, M/M/1 and T much longer than its memory 1/(1−√ρ)².

Source: the same two sums of one area as on the page, with rest times for weights (Brumelle 1971);
Whitt (1989) for the asymptotic variance of the number in an M/M/1 queue.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.littles_law.finite_window import (
    mean_over_replications,
    simulate_requests,
)
from serving_mathematics.capacity.littles_law.littles_law import window_averages
from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_floats, require, require_in, require_positive

FloatArray = npt.NDArray[np.float64]

RHO = 0.8  # utilization of the simulated queue: L = 4, W = 5 service times
TEST_SOJOURNS = 100  # length of the load test of the text, in mean sojourns


def running_noise(arrival_rate: float, sojourns_s: npt.ArrayLike, window_s: float) -> float:
    """Standard deviation of λW over a window of a running service, on whole sojourns and relative
    to the window's own L: √(2λE[W³]/3)/(λWT).

    arrival_rate: λ [1/s]. sojourns_s: a sample of W, non-negative [s], shape (n,). window_s: T [s].
    Raises ValueError on rates, times or a sample that are not.

    >>> round(running_noise(arrival_rate=1.0, sojourns_s=[6.0], window_s=12.0), 12)  # √144/(6·12)
    0.166666666667
    """
    arrival_rate, window_s = require_positive(arrival_rate=arrival_rate, window_s=window_s)
    sample = as_floats(sojourns_s=sojourns_s)
    fine = sample.ndim == 1 and sample.size > 0 and np.all((sample >= 0) & (sample < math.inf))
    require(fine and sample.max() > 0, "sojourns_s", "a list of times that are not all 0", sample)
    cube = float((sample**3).mean())
    return math.sqrt(2 * arrival_rate * cube / 3) / (arrival_rate * float(sample.mean()) * window_s)


def own_spread(utilization: float, window: float) -> float:
    """Standard deviation of the mean number in an M/M/1 queue over a window, relative to ρ/(1−ρ).

    utilization: ρ in (0, 1). window: T, positive, much longer than the queue's memory [service
    times]. Raises ValueError outside these ranges. Source: Whitt (1989).

    >>> round(own_spread(utilization=0.8, window=1800.0), 12)  # √(1800/1800) = 1, over 4
    0.25
    """
    utilization = require_in("(0, 1)", utilization=utilization)
    window = require_positive(window=window)
    idle = 1 - utilization
    variance = 2 * utilization * (1 + utilization) / idle**4
    return math.sqrt(variance / window) * idle / utilization


@functools.cache
def _load_tests() -> tuple[FloatArray, FloatArray]:
    """L of 200 load tests of 100 mean sojourns that start empty, and of windows as long in the same
    runs, after three times as long."""
    length = TEST_SOJOURNS / (1 - RHO)
    arrivals, departures = simulate_requests(np.random.default_rng(31), RHO, 4 * length)
    parts = [(0.0, length), (3 * length, 4 * length)]
    first, later = (window_averages(arrivals, departures, *part).truncated for part in parts)
    return first, later


def example() -> SimpleNamespace:
    """Numbers of the text: exponential sojourns, four in flight; load tests of M/M/1 at ρ = 0.8."""
    rng = np.random.default_rng(7)
    sojourns = rng.exponential(1.0, 400_000)
    test, later = _load_tests()
    return SimpleNamespace(
        running_noise_percent=100 * running_noise(4.0, sojourns, TEST_SOJOURNS),
        test_sojourns=TEST_SOJOURNS,
        test_in_flight=float(test.mean()),
        test_spread=float(test.std(ddof=1)),
        later_in_flight_mean=float(later.mean()),
        later_spread=float(later.std(ddof=1)),
        sojourns_for_1_percent=(1.96 * own_spread(RHO, 1.0) / 0.01) ** 2 * (1 - RHO),
    )


def _batch_windows(rng: np.random.Generator, rate: float, window: float) -> tuple[FloatArray, ...]:
    """λW on whole sojourns, and L, of 200 windows of a service without a queue that runs for long:
    gamma sojourns of mean 1 and C² = 1/4."""
    whole, own = np.zeros(200), np.zeros(200)
    before = 20.0
    for run in range(200):
        times = rng.uniform(-before, window, rng.poisson(rate * (window + before)))
        ends = times + rng.gamma(4.0, 0.25, times.size)
        whole[run] = (ends - times)[times >= 0].sum() / window
        own[run] = (np.clip(ends, 0, window) - np.clip(times, 0, window)).sum() / window
    return whole, own


def check_edges_of_a_running_service_cancel() -> None:
    """Over a window of a running service whole sojourns have no bias, and the noise that the
    formula says.

    Source: 200 windows of 30 mean sojourns, Poisson arrivals, gamma sojourns without a queue, 4 and
    40 in flight; E[W³] of a gamma with shape 4 and mean 1 is 4·5·6/4³ = 15/8. The standard error of
    a standard deviation of 200 is 5%.
    """
    sample = np.random.default_rng(3).gamma(4.0, 0.25, 280_000)
    for seed, rate in ((1, 4.0), (2, 40.0)):
        whole, own = _batch_windows(np.random.default_rng(seed), rate, 30.0)
        off = (whole - own) / rate
        checks.covers(f"{rate:g} in flight: bias of λW over L", mean_over_replications(off), 0.0)
        by_hand = math.sqrt(2 * rate * 15 / 8 / 3) / (rate * 30)
        checks.close(f"{rate:g} in flight: noise", off.std(ddof=1), by_hand, rtol=0.15)
        checks.close("formula", running_noise(rate, sample, 30.0), by_hand, rtol=0.01)


def check_own_spread() -> None:
    """The number in an M/M/1 queue, averaged over T, has the variance 2ρ(1+ρ)/(1−ρ)⁴/T.

    Source: Poisson's equation of the birth–death chain, solved on its first 400 states: the
    asymptotic variance is twice the covariance of the number with the equation's solution.
    """
    for rho in (0.5, 0.8):
        size = 400
        states = np.arange(size)
        steps = np.diag(np.full(size - 1, rho), 1) + np.diag(np.ones(size - 1), -1)
        generator = steps - np.diag(steps.sum(axis=1))
        stationary = (1 - rho) * rho**states
        excess = states - stationary @ states
        solved = np.linalg.solve(generator - np.outer(np.ones(size), stationary), -excess)
        variance = 2 * float(stationary @ (excess * solved))
        got = (own_spread(rho, 1.0) * rho / (1 - rho)) ** 2
        checks.close(f"variance times T at ρ = {rho}", got, variance, rtol=1e-8)


def check_a_hundred_sojourns_are_few() -> None:
    """A load test of a hundred mean sojourns, whose books close within one percent, has an L that
    varies by half of it from one run to the next.

    Source: 200 runs of M/M/1 at ρ = 0.8; the asymptotic variance, which the runs that start empty
    stay below and later windows are near to.
    """
    test, later = _load_tests()
    formula = 4 * own_spread(RHO, TEST_SOJOURNS / (1 - RHO))
    checks.close("spread of later windows", later.std(ddof=1), formula, rtol=0.2, kind="simulation")
    checks.inside("spread of tests from empty", test.std(ddof=1), 1.3, formula, kind="simulation")
    estimate = MeanEstimate(float(later.mean()), float(later.std(ddof=1)) / math.sqrt(200), 0.0)
    checks.covers("mean of later windows", estimate, 4.0)


def check_bad_input_is_refused() -> None:
    """Samples of nothing or of zeros, and windows without length, are errors."""
    checks.raises("no sample", running_noise, 1.0, [], 1.0, match="sojourns_s must be a list")
    checks.raises("zeros", running_noise, 1.0, [0.0], 1.0, match="sojourns_s must be a list")
    checks.raises("NaN", running_noise, 1.0, [math.nan], 1.0, match="sojourns_s must be a list")
    checks.raises("T = 0", running_noise, 1.0, [1.0], 0.0, match="window_s must be positive")
    checks.raises("ρ = 1", own_spread, 1.0, 9.0, match="utilization must be in (0, 1)")
