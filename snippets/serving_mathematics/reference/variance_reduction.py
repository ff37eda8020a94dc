"""Fewer customers for the same interval: what is known about a run taken off its mean, and two
systems compared on the same random numbers.

A run that drew long services waits long, and by how much it drew them is known, because their mean
is: the controls take off the part of the mean wait that follows them. For M/M/1 the covariances are
derivatives, n·Cov(W̄, S̄) = s²·dE[W]/ds for exponential services of mean s, and likewise for gaps,
so that the variance that is left is the share 2/(2 + 5ρ − 4ρ² + ρ³): half of it at best, in heavy
traffic. The difference of two systems has the variance of both less twice their covariance, which
is large when both meet the same customers.

Assumes: independent replications; for the closed form M/M/1, long runs, times in mean services.

Source: Lavenberg and Welch (1981) for controls and their estimated coefficients; Asmussen and Glynn
(2007), chapters V and VII, for common random numbers and for derivatives by likelihood ratios;
Daley (1968) for the variance of the mean.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_floats, require, require_in, require_shape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

RUNS, CUSTOMERS, WARM_UP = 400, 20_000, 2_000
LOADS = (0.2, 0.5, 0.8, 0.9)
LONG_WAIT = 30.0  # [mean service times], which 0.2% of customers exceed at 80% busy
FASTER = 1.05  # speed of the other server


def controlled_mean(
    values: npt.ArrayLike, controls: npt.ArrayLike, expected: npt.ArrayLike
) -> MeanEstimate:
    """Mean of independent runs, after what is known about each is taken off.

    values: a result of each run, shape (n,). controls: of each run, k numbers whose expectation is
    known, shape (n, k), n ≥ k + 3. expected: these expectations, shape (k,). Coefficients by least
    squares, and the standard error of the intercept, whose interval is 1.96 errors wide to each
    side; it is exact for normal values, apart from 1.96 in the place of Student's t. Raises
    ValueError on other shapes, values that are not finite, and controls that are combinations of
    each other.

    >>> found = controlled_mean([3.1, 4.9, 7.1, 8.9], [[1.0], [2.0], [3.0], [4.0]], [2.0])
    >>> round(found.mean, 9)  # 1.08 + 1.96·2
    5.02
    """
    results, known = as_floats(values=values), as_floats(controls=controls)
    means = as_floats(expected=expected)
    require(results.ndim == 1, "values", "of shape (n,)", results.shape)
    fits = known.ndim == 2 and known.shape[0] == results.size >= known.shape[1] + 3
    require(fits, "controls", "of shape (n, k) with n ≥ k + 3", known.shape)
    require(means.shape == known.shape[1:], "expected", "of shape (k,)", means.shape)
    for name, array in (("values", results), ("controls", known), ("expected", means)):
        require(np.all(np.isfinite(array)), name, "finite", array)
    design = np.column_stack([np.ones(results.size), known - means])
    require(np.linalg.matrix_rank(design) == design.shape[1], "controls", "independent", known)
    inverse = np.linalg.inv(design.T @ design)
    coefficients = inverse @ design.T @ results
    left = results - design @ coefficients
    variance = float(left @ left) / (results.size - design.shape[1])
    error = math.sqrt(variance * float(inverse[0, 0]))
    return MeanEstimate(float(coefficients[0]), error, 1.96 * error)


def controlled_share(utilization: float) -> float:
    """Share of the variance of a long M/M/1 run's mean wait that is left when its mean service and
    mean gap are taken off: 2/(2 + 5ρ − 4ρ² + ρ³).

    utilization: ρ in (0, 1). Raises ValueError outside this range.

    >>> round(controlled_share(0.8), 3)
    0.506
    """
    utilization = require_in("(0, 1)", utilization=utilization)
    return 2 / (2 + 5 * utilization - 4 * utilization**2 + utilization**3)


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
        require(np.all(np.isfinite(array)), name, "finite", array)
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
def _all_runs() -> dict[tuple[float, float, bool], FloatArray]:
    """Results of RUNS runs, as `_runs` gives them, by utilization, speed and anew. A run draws its
    customers once, for all settings, and all go from customer to customer together: by Lindley's
    recursion a wait is the one before, with that customer's service and without the gap, or 0."""
    plain = [(load, 1.0, False) for load in LOADS]
    others = [(0.8, speed, False) for speed in (FASTER, 1 + (FASTER - 1) / 2, 0.0)]
    settings = [*plain, *others, (0.8, FASTER, True)]
    rng, block = np.random.default_rng(800), 200
    wait, waited, long = np.zeros((3, len(settings), RUNS))
    drawn = np.zeros((3, RUNS))
    for start in range(0, WARM_UP + CUSTOMERS, block):
        gaps, *services = draws = rng.standard_exponential((3, block, RUNS))
        waits = np.empty((block, len(settings), RUNS))
        for place, (load, speed, anew) in enumerate(settings):
            waits[:, place] = (services[anew] / speed if speed else 1.0) - gaps / load
        for now in waits:
            now += wait
            wait = np.maximum(now, 0.0, out=now)
        if start >= WARM_UP:
            drawn += draws.sum(axis=1)
            waited += waits.sum(axis=0)
            long += (waits > LONG_WAIT).sum(axis=0)
    found = {}
    for place, (load, speed, anew) in enumerate(settings):
        served = drawn[1 + anew] / speed if speed else np.full(RUNS, float(CUSTOMERS))
        sums = waited[place], served, drawn[0] / load, long[place]
        found[load, speed, anew] = np.array(sums) / CUSTOMERS
    return found


def _runs(utilization: float, speed: float = 1.0, anew: bool = False) -> FloatArray:
    """Mean wait, mean service, mean gap and share of waits beyond 30 of RUNS runs of M/M/1 after
    WARM_UP customers, in services at speed 1, shape (4, RUNS). speed: of the server; 0 stands for
    constant services at speed 1. anew: services from another stream than at other speeds."""
    return _all_runs()[utilization, speed, anew]


def _left(values: FloatArray, utilization: float, controls: FloatArray) -> MeanEstimate:
    """Share of the variance that is left by the controls mean service and mean gap, with its
    standard error for normal values."""
    means = controlled_mean(values, controls.T, [1.0, 1 / utilization])
    share = means.standard_error**2 * values.size / float(values.var(ddof=1))
    error = 2 * math.sqrt(max(0.0, 1 - share) / values.size) * share
    return MeanEstimate(share, error, 1.96 * error)


def _scaled(estimate: MeanEstimate, factor: float) -> MeanEstimate:
    """The estimate in another unit, such as per cent."""
    error = factor * estimate.standard_error
    return MeanEstimate(factor * estimate.mean, error, 1.96 * error)


def example() -> SimpleNamespace:
    """Numbers quoted in the text; an error is half the 95% interval."""
    waits, services, gaps, long = _runs(0.8)
    known = np.stack([services, gaps])
    left = _scaled(_left(waits, 0.8, known), 100)
    tail = _scaled(_left(long, 0.8, known), 100)
    better = controlled_mean(waits, known.T, [1.0, 1.25])
    faster, constant, anew = _runs(0.8, FASTER)[0], _runs(0.8, 0.0)[0], _runs(0.8, FASTER, True)[0]
    apart = paired_difference(waits, faster)
    shares = [_scaled(pairing_share(waits, other), 100) for other in (faster, constant, anew)]
    return SimpleNamespace(
        variance_runs=RUNS,
        variance_customers=CUSTOMERS,
        left_exact_percent=100 * controlled_share(0.8),  # 80% busy
        left_percent=left.mean,
        left_error=left.half_width,
        left_light_percent=100 * controlled_share(0.2),  # 20% busy, exact
        left_tail_percent=tail.mean,  # share of waits beyond 30
        left_tail_error=tail.half_width,
        plain_wait=float(waits.mean()),  # 80% busy, exactly 4
        plain_wait_error=1.96 * float(waits.std(ddof=1)) / math.sqrt(RUNS),
        controlled_wait=better.mean,
        controlled_wait_error=better.half_width,
        difference_exact=4 - _wait(0.8, FASTER),  # of a server 5% faster
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


def _wait(arrival_rate: float, speed: float) -> float:
    """Mean M/M/1 wait with a server of this speed, in services at speed 1."""
    return arrival_rate / speed / (speed - arrival_rate)


def figure_controls(figure: Figure) -> None:
    """What is known about the services and gaps of a run takes off half the variance of its mean
    wait at best, and little at light load.

    Curve: 2/(2 + 5ρ − 4ρ² + ρ³). Points: 400 simulated runs of 20,000 customers each, with 95%
    intervals.

    Alt: Share of the variance that is left against utilization, 0 to 100 percent. A curve falls
    from 100 percent at no load to 55 percent at half load and levels off at 50. Four points with
    bars lie on it.
    """
    axes = figure.subplots()
    loads = np.linspace(0.01, 0.99, 99)
    axes.plot(loads, [controlled_share(load) for load in loads], color="C0")
    points = []
    for load in LOADS:
        waits, *known, _ = _runs(load)
        left = _left(waits, load, np.stack(known))
        points.append((load, left.mean, left.half_width))
    places, shares, halves = np.array(points).T
    axes.errorbar(places, shares, halves, fmt="o", color="C1")
    axes.annotate("closed form", (0.12, 0.84), color="C0")
    axes.annotate("simulated", (0.52, 0.63), color="C1")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0], ["0%", "20%", "40%", "60%", "80%", "100%"])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0], ["0%", "25%", "50%", "75%", "100%"])
    axes.set(xlabel="utilization", ylabel="variance that is left")


def figure_common_numbers(figure: Figure) -> None:
    """On the same customers both servers have their crowds in the same runs, so that the difference
    hardly varies; with services drawn anew it has two thirds of its variance back.

    400 pairs of runs of 20,000 customers, 80% busy, and a server that is 5% faster. Line: the exact
    difference of the mean waits.

    Alt: Two panels of mean wait with the faster server, 2.5 to 3.7 mean services, against mean wait
    with the slower one, 3.2 to 5.1. Left, same customers: points in a narrow rising band that
    crosses the line at a flatter angle. Right, services drawn anew: a round cloud about the same
    place.
    """
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    waits = _runs(0.8)[0]
    exact = 4 - _wait(0.8, FASTER)
    for axes, anew, name in ((left, False, "same customers"), (right, True, "services drawn anew")):
        axes.plot(waits, _runs(0.8, FASTER, anew)[0], "o", color="C0", markersize=2.5, alpha=0.6)
        ends = np.array([3.0, 5.6])
        axes.plot(ends, ends - exact, color="C1")
        axes.set(title=name, xlabel="slower server [services]", ylabel="5% faster [services]")


def check_controls_leave_what_the_formula_says() -> None:
    """The controls leave 70% of the variance at 20% busy and 51% at 80%, as the closed form says.

    Source: 400 runs of 20,000 customers at each load; the error of a squared correlation.
    """
    for load in LOADS:
        waits, *known, _ = _runs(load)
        found = _left(waits, load, np.stack(known))
        checks.covers(f"{load:.0%} busy", found, controlled_share(load))
    checks.close("heavy traffic", controlled_share(1 - 1e-9), 0.5, rtol=1e-6)


def check_covariances_are_derivatives() -> None:
    """n·Cov(W̄, S̄) is dE[W]/ds and n·Cov(W̄, Ā) is dE[W]/da over ρ².

    Source: finite differences of E[W] = s²/(a − s); covariances of 400 runs, with their jackknife
    errors.
    """
    step = 1e-5
    more, less = ((1 + way) ** 2 / (0.25 - way) for way in (step, -step))
    by_service = (more - less) / 2 / step
    by_gap = (1 / (0.25 + step) - 1 / (0.25 - step)) / 2 / step
    waits, services, gaps, _ = _runs(0.8)
    for name, control, slope in (("service", services, by_service), ("gap", gaps, by_gap / 0.64)):
        products = CUSTOMERS * (waits - waits.mean()) * (control - control.mean())
        error = float(products.std(ddof=1)) / math.sqrt(RUNS)
        found = MeanEstimate(float(products.sum()) / (RUNS - 1), error, 1.96 * error)
        checks.covers(f"mean {name}", found, slope)
    for load in LOADS:
        left = 1 - _explained(load)
        checks.close(f"share left, {load:.0%} busy", left, controlled_share(load), rtol=1e-12)


def _explained(load: float) -> float:
    """Squared multiple correlation from the derivatives and Daley's variance."""
    by_service = load * (2 - load) / (1 - load) ** 2
    by_gap = load / (1 - load) ** 2  # slope 1/(1−ρ)² over the spread 1/ρ of a gap
    variance = load * (2 + 5 * load - 4 * load**2 + load**3) / (1 - load) ** 4
    return (by_service**2 + by_gap**2) / variance


def check_common_numbers() -> None:
    """On common numbers the difference of two servers is right, has about a tenth of the variance
    of that of independent runs, and its errors shrink with the difference itself.

    Source: mean waits λs²/(1 − λs); for half the difference in speed the square of the ratio of
    the exact differences, 0.31; jackknife errors over 400 pairs.
    """
    waits, faster = _runs(0.8)[0], _runs(0.8, FASTER)[0]
    checks.covers("difference", paired_difference(waits, faster), 4 - _wait(0.8, FASTER))
    share = pairing_share(waits, faster)
    near = pairing_share(waits, _runs(0.8, 1 + (FASTER - 1) / 2)[0])
    checks.inside("variance, of that of independent runs", share.mean, 0.05, 0.15)
    exact = (4 - _wait(0.8, 1 + (FASTER - 1) / 2)) / (4 - _wait(0.8, FASTER))
    ratio = near.mean / share.mean
    error = near.standard_error / share.mean
    checks.close("half the speed", ratio, exact**2, atol=3 * error, kind="simulation")
    anew = pairing_share(waits, _runs(0.8, FASTER, True)[0])
    checks.holds("services drawn anew", anew.mean > 5 * share.mean, got=anew.mean)


def check_where_controls_give_little() -> None:
    """They leave most of the variance of a share of long waits, where they leave half of that of
    the mean.

    Source: the same runs.
    """
    waits, *known, long = _runs(0.8)
    mean, tail = (_left(values, 0.8, np.stack(known)) for values in (waits, long))
    checks.holds("more is left", tail.mean - mean.mean > 4 * tail.standard_error, got=tail.mean)


def check_bad_input_is_refused() -> None:
    """Few runs, constant controls, pairs of unequal length and saturation name the argument."""
    one = np.arange(5.0)
    checks.raises(
        "few", controlled_mean, one[:3], one[:3, None], [0.0], match="controls must be of"
    )
    constant = np.ones((5, 1))
    checks.raises("constant", controlled_mean, one, constant, [1.0], match="controls must be ind")
    checks.raises(
        "NaN", controlled_mean, one * math.nan, constant, [1.0], match="values must be fi"
    )
    checks.raises("pairs", paired_difference, one, one[1:], match="second must be of shape (5,)")
    checks.raises("still", pairing_share, [1.0] * 3, [2.0] * 3, match="first must be varying")
    checks.raises("ρ = 1", controlled_share, 1.0, match="utilization must be in (0, 1)")
