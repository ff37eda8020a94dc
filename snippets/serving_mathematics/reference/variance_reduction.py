"""Fewer customers for the same interval: two systems compared on the same random numbers.

The difference of two systems has the variance of both less twice their covariance, which is large
when both meet the same customers.

Assumes: independent replications; times in mean services.

Source: Asmussen and Glynn (2007), chapter V, for common random numbers.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import as_floats, require, require_shape

FloatArray = npt.NDArray[np.float64]

RUNS, CUSTOMERS, WARM_UP = 400, 20_000, 2_000
LOAD = 0.8  # of the slower server
FASTER = 1.05  # speed of the other server


def paired_difference(first: npt.ArrayLike, second: npt.ArrayLike) -> MeanEstimate:
    """Mean difference of two systems that were simulated in pairs of runs on the same numbers.

    first, second: results of the runs, pair by pair, shape (n,), n ≥ 2. Raises ValueError on other
    shapes or values that are not finite.

    >>> found = paired_difference([3.0, 5.0, 9.0], [2.0, 3.0, 8.0])
    >>> round(found.mean, 3), round(found.standard_error, 3)
    (1.333, 0.333)
    """
    one, other = as_floats(first=first), as_floats(second=second)
    require(one.ndim == 1 and one.size >= 2, "first", "of shape (n,), n ≥ 2", one.shape)
    require_shape(one.shape, second=other)
    for name, array in (("first", one), ("second", other)):
        require(np.isfinite(array), name, "finite", array)
    apart = one - other
    error = float(apart.std(ddof=1)) / math.sqrt(apart.size)
    return MeanEstimate(float(apart.mean()), error, 1.96 * error)


def pairing_share(first: npt.ArrayLike, second: npt.ArrayLike) -> MeanEstimate:
    """Variance of the difference of paired runs over that of independent ones,
    Var(X − Y)/(Var X + Var Y), with the standard error of the jackknife.

    Arguments as for `paired_difference`, n ≥ 3. Below 1 pairing helps, above it harms. Raises
    ValueError on other shapes, and when neither varies.

    >>> pair = [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 5.0]
    >>> round(pairing_share(*pair).mean, 3)  # 0.25/(5/3 + 35/12)
    0.055
    """
    one, other = as_floats(first=first), as_floats(second=second)
    require(one.ndim == 1 and one.size >= 3, "first", "of shape (n,), n ≥ 3", one.shape)
    paired_difference(one, other)  # refuses the rest
    require(np.ptp(one) + np.ptp(other) > 0, "first", "varying, or second", one)
    series = np.stack([one - other, one, other])
    apart = (series - series.mean(axis=1, keepdims=True)) ** 2
    whole, n = apart.sum(axis=1), one.size
    without = whole[:, None] - apart * n / (n - 1)  # squares about the mean, one pair left out
    left_out = without[0] / (without[1] + without[2])
    error = math.sqrt((n - 1) / n * float(((left_out - left_out.mean()) ** 2).sum()))
    return MeanEstimate(float(whole[0] / (whole[1] + whole[2])), error, 1.96 * error)


@functools.cache
def _all_runs() -> dict[tuple[float, bool], FloatArray]:
    """Mean waits of RUNS runs of M/M/1 after WARM_UP customers, in services at speed 1, by speed of
    the server (0 stands for constant services at speed 1) and by whether its services come from
    another stream. A run draws its customers once for all servers, and all go from customer to
    customer together: by Lindley's recursion a wait is the one before, with that customer's service
    and without the gap, or 0."""
    speeds = (1.0, FASTER, 1 + (FASTER - 1) / 2, 0.0)
    settings = [*((speed, False) for speed in speeds), (FASTER, True)]
    rng, block = np.random.default_rng(800), 200
    wait, waited = np.zeros((2, len(settings), RUNS))
    for start in range(0, WARM_UP + CUSTOMERS, block):
        gaps, *services = rng.standard_exponential((3, block, RUNS))
        waits = np.empty((block, len(settings), RUNS))
        for place, (speed, anew) in enumerate(settings):
            waits[:, place] = (services[anew] / speed if speed else 1.0) - gaps / LOAD
        for now in waits:
            now += wait
            wait = np.maximum(now, 0.0, out=now)
        if start >= WARM_UP:
            waited += waits.sum(axis=0)
    return dict(zip(settings, waited / CUSTOMERS, strict=True))


def _scaled(estimate: MeanEstimate, factor: float) -> MeanEstimate:
    """The estimate in another unit, such as per cent."""
    error = factor * estimate.standard_error
    return MeanEstimate(factor * estimate.mean, error, 1.96 * error)


def _difference(speed: float) -> float:
    """By how much the mean M/M/1 wait is shorter with a server of this speed, in services."""
    return LOAD / (1 - LOAD) - LOAD / speed / (speed - LOAD)


def example() -> SimpleNamespace:
    """Numbers quoted in the text; an error is half the 95% interval."""
    runs = _all_runs()
    waits, faster = runs[1.0, False], runs[FASTER, False]
    others = (faster, runs[0.0, False], runs[FASTER, True])
    apart = paired_difference(waits, faster)
    shares = [_scaled(pairing_share(waits, other), 100) for other in others]
    return SimpleNamespace(
        variance_runs=RUNS,
        variance_customers=CUSTOMERS,
        difference=apart.mean,
        difference_error=apart.half_width,
        apart_error=1.96
        * math.sqrt((waits.var(ddof=1) + faster.var(ddof=1)) / RUNS),  # of independent runs
        faster_percent=shares[0].mean,  # of the variance of independent runs
        faster_error=shares[0].half_width,
        constant_percent=shares[1].mean,
        constant_error=shares[1].half_width,
        anew_percent=shares[2].mean,
        anew_error=shares[2].half_width,
    )


def figure_common_numbers(figure: Figure) -> None:
    """On the same customers both servers have their crowds in the same runs, so that the difference
    hardly varies; with services drawn anew it has most of its variance back.

    400 pairs of runs of 20,000 customers, 80% busy, and a server that is 5% faster. Line: the exact
    difference of the mean waits.

    Alt: Two panels of mean wait with the faster server, 2.5 to 3.7 mean services, against mean wait
    with the slower one, 3.2 to 5.1. Left, same customers: points in a narrow rising band that
    crosses the line at a flatter angle. Right, services drawn anew: a round cloud about the same
    place.
    """
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    runs = _all_runs()
    waits, exact = runs[1.0, False], _difference(FASTER)
    for axes, anew, name in ((left, False, "same customers"), (right, True, "services drawn anew")):
        axes.plot(waits, runs[FASTER, anew], "o", color="C0", markersize=2.5, alpha=0.6)
        ends = np.array([3.0, 5.6])
        axes.plot(ends, ends - exact, color="C1")
        axes.set(title=name, xlabel="slower server [services]", ylabel="5% faster [services]")


def check_common_numbers() -> None:
    """On common numbers the difference of two servers is right, has about a tenth of the variance
    of that of independent runs, and its errors shrink with the difference itself.

    Source: mean waits λs²/(1 − λs); for half the difference in speed the square of the ratio of
    the exact differences, 0.31; jackknife errors over 400 pairs.
    """
    runs, half = _all_runs(), 1 + (FASTER - 1) / 2
    waits, faster = runs[1.0, False], runs[FASTER, False]
    checks.covers("difference", paired_difference(waits, faster), _difference(FASTER))
    share = pairing_share(waits, faster)
    near = pairing_share(waits, runs[half, False])
    checks.inside("variance, of that of independent runs", share.mean, 0.05, 0.15)
    exact = _difference(half) / _difference(FASTER)
    ratio = near.mean / share.mean
    error = near.standard_error / share.mean
    checks.close("half the speed", ratio, exact**2, atol=3 * error, kind="simulation")
    anew = pairing_share(waits, runs[FASTER, True])
    checks.holds("services drawn anew", anew.mean > 5 * share.mean, got=anew.mean)


def check_bad_input_is_refused() -> None:
    """Values that do not vary are an error that names the argument."""
    checks.raises("still", pairing_share, [1.0] * 3, [2.0] * 3, match="first must be varying")
