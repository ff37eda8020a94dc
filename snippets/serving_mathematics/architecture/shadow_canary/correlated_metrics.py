"""A minute that resembles the one before is not a new observation.

The mean of n values with the autocorrelation φ^k has the variance σ²/n·I, with
I = 1 + 2·Σ_{k<n} (1 − k/n)·φ^k ≈ (1 + φ)/(1 − φ): they are worth n/I independent ones. A test that
takes them for independent rejects a true hypothesis with probability 2Φ(−z/√I) instead of 2Φ(−z).
Means of batches much longer than the correlation lasts are nearly independent again.

Assumes: a stationary series, for the formula AR(1) with normal noise; batches long enough.

Source: Bayley and Hammersley (1946) for I; Asmussen and Glynn (2007) for batch means.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import STUDENT_T_975
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    as_numbers,
    require,
    require_in,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MINUTES = 720  # half a day of one value a minute
BATCHES = 12  # of an hour each
NORMAL_975 = NormalDist().inv_cdf(0.975)


TERMS = 25  # of a series whose terms are below 1/(j + 2)!


def variance_inflation(correlation: float, count: int) -> float:
    """Variance of the mean of AR(1) values over that of as many independent ones, I.

    correlation: φ of neighbours, in (−1, 1). count: n, at least 1. The sum in closed form. Raises
    ValueError outside these ranges.

    >>> variance_inflation(0.5, count=2)
    1.5
    """
    correlation = as_number(correlation=correlation)
    require(-1 < correlation < 1, "correlation", "in (−1, 1)", correlation)
    count = require_positive_integer(count=count)
    phi, n = correlation, int(count)
    apart = 1 - phi
    if n * apart < 1:  # Σⱼ (φ − 1)ʲ C(n + 1, j + 2), where the difference below would cancel
        total, term = 0.0, (n + 1) / 2  # over n
        for j in range(TERMS):
            total += term
            term *= -apart * (n - 1 - j) / (j + 3)
        return 2 * total - 1
    lost = 1 - phi**n
    if abs(phi) > 0.5 and (phi > 0 or n % 2 == 0):  # φⁿ may be next to 1
        lost = -math.expm1(n * math.log1p(-(1 - abs(phi))))
    return (1 + phi) / apart - 2 * phi * lost / (n * apart**2)


def false_alarm_rate(correlation: float, count: int, alpha: float = 0.05) -> float:
    """How often a two-sided z test at level α rejects “no change” when the values are AR(1).

    correlation, count: as for `variance_inflation`. alpha: in (0, 1). The variance of one value is
    known. Raises ValueError outside these ranges.

    >>> round(false_alarm_rate(0.0, count=720), 12)
    0.05
    """
    alpha = require_in("(0, 1)", alpha=alpha)
    z = -NormalDist().inv_cdf(alpha / 2)
    return 2 * NormalDist().cdf(-z / math.sqrt(variance_inflation(correlation, count)))


def naive_z(series: npt.ArrayLike) -> FloatArray:
    """Mean over s/√n, as if the values were independent.

    series: values along the last axis, at least two and not all equal. Returns one z per series.
    Raises ValueError on other input.

    >>> float(naive_z([0.0, 2.0, 1.0, 1.0]).round(6))
    2.44949
    """
    series = as_numbers(series=series)
    values = _series(series, 2)
    z: FloatArray = values.mean(axis=-1) / _spread(values)
    return z


def adjusted_z(series: npt.ArrayLike) -> FloatArray:
    """`naive_z` with n replaced by n(1 − φ̂)/(1 + φ̂), φ̂ estimated from neighbours.

    series: as for `naive_z`, at least ten values. A negative φ̂ counts as 0, so that the correction
    never makes a test bolder. Right for AR(1); other series need batches. Raises ValueError on
    other input.

    >>> float(adjusted_z([0.0, 1.0] * 5).round(6)) == float(naive_z([0.0, 1.0] * 5).round(6))
    True
    """
    series = as_numbers(series=series)
    values = _series(series, 10)
    naive = naive_z(values)
    around = values - values.mean(axis=-1, keepdims=True)
    phi = (around[..., 1:] * around[..., :-1]).sum(axis=-1) / (around**2).sum(axis=-1)
    phi = np.maximum(phi, 0.0)
    z: FloatArray = naive * np.sqrt((1 - phi) / (1 + phi))
    return z


def batch_t(series: npt.ArrayLike, batches: int) -> FloatArray:
    """Mean over its standard error from the means of consecutive batches.

    series: values along the last axis, at least two per batch; the first n mod batches drop out.
    batches: b, at least 2. Compare with Student's t of b − 1 degrees of freedom. Raises ValueError
    on other input.

    >>> float(batch_t([1.0, 1.0, 3.0, 3.0], batches=2))
    2.0
    """
    series = as_numbers(series=series)
    batches = as_number(batches=batches)
    require(2 <= batches < math.inf and batches % 1 == 0, "batches", "an integer ≥ 2", batches)
    values = _series(series, 2 * int(batches))
    kept = values[..., values.shape[-1] % batches :]
    means = kept.reshape(*kept.shape[:-1], int(batches), -1).mean(axis=-1)
    t: FloatArray = means.mean(axis=-1) / _spread(means)
    return t


def simulate_ar1(rng: np.random.Generator, correlation: float, runs: int, count: int) -> FloatArray:
    """Stationary AR(1) series of mean 0 and variance 1, shape (runs, count).

    correlation: φ in (−1, 1). runs, count: positive integers. x_t = φ·x_{t−1} + √(1 − φ²)·noise.
    Raises ValueError outside these ranges.
    """
    correlation = as_number(correlation=correlation)
    require(-1 < correlation < 1, "correlation", "in (−1, 1)", correlation)
    runs, count = require_positive_integer(runs=runs, count=count)
    require_work(runs * count + 200 * count, runs=runs, count=count)
    noise = rng.standard_normal((int(count), int(runs)))
    noise[1:] *= math.sqrt(1 - correlation**2)
    for t in range(1, int(count)):
        noise[t] += correlation * noise[t - 1]
    return noise.T


def _series(values: npt.ArrayLike, shortest: int) -> FloatArray:
    """Finite values along the last axis, at least `shortest`."""
    array = as_floats(values=values)
    enough = array.ndim >= 1 and array.shape[-1] >= shortest
    require(enough, "series", f"at least {shortest} values", array.shape)
    require(np.isfinite(array).all(), "series", "finite", values)
    return array


def _spread(values: FloatArray) -> FloatArray:
    """Standard error of the mean along the last axis, if the values were independent."""
    errors: FloatArray = values.std(axis=-1, ddof=1) / math.sqrt(values.shape[-1])
    require((errors > 0).all(), "series", "not constant", values)
    return errors


def _said(alarms: BoolArray, decimals: int) -> str:
    """Percent of alarms with the half-width of its 95% interval."""
    share = float(alarms.mean())
    half = 100 * NORMAL_975 * math.sqrt(share * (1 - share) / alarms.size)
    return f"{100 * share:.{decimals}f} ± {half:.{decimals}f}"


@functools.cache
def _half_days() -> dict[float, dict[str, BoolArray]]:
    """By correlation of the minutes, in which of many half days without change each test raises an
    alarm at the 5% level."""
    rng, found = np.random.default_rng(43), {}
    runs = {0.0: 2100, 0.3: 700, 0.5: 2100, 0.7: 700, 0.8: 700, 0.9: 2100, 0.97: 1050}
    for phi, count in runs.items():
        series = simulate_ar1(rng, phi, count, MINUTES)
        found[phi] = {
            "naive": np.abs(naive_z(series)) > NORMAL_975,
            "adjusted": np.abs(adjusted_z(series)) > NORMAL_975,
            "hours": np.abs(batch_t(series, BATCHES)) > STUDENT_T_975[11],
        }
    return found


def example() -> SimpleNamespace:
    """Numbers quoted in the text; percent of half days without any change."""
    at_90, at_97 = (_half_days()[phi] for phi in (0.9, 0.97))
    apart, together = _shared_cause()
    return SimpleNamespace(
        inflation_at_90=variance_inflation(0.9, MINUTES),
        worth_at_90=MINUTES / variance_inflation(0.9, MINUTES),
        alarms_at_50=100 * false_alarm_rate(0.5, MINUTES),
        alarms_at_90=100 * false_alarm_rate(0.9, MINUTES),
        adjusted_at_90=_said(at_90["adjusted"], 1),
        batched_at_90=_said(at_90["hours"], 1),
        batched_at_97=_said(at_97["hours"], 0),
        alarms_at_97=100 * false_alarm_rate(0.97, MINUTES),
        before_after=_said(apart, 0),
        side_by_side=_said(together, 0),
    )


@functools.cache
def _shared_cause() -> tuple[BoolArray, BoolArray]:
    """In which half days the canary is blamed against the hours before, and against a baseline at
    the same time, when load (AR(1), φ = 0.9) and independent noise contribute half of the variance
    each.
    """
    rng, half = np.random.default_rng(45), MINUTES // 2
    load = simulate_ar1(rng, 0.9, 1400, MINUTES)
    old, new = (load + rng.standard_normal(load.shape) for _ in "ab")
    before_after = new[:, half:] - old[:, :half]
    apart, together = naive_z(before_after), naive_z(new[:, half:] - old[:, half:])
    return np.abs(apart) > NORMAL_975, np.abs(together) > NORMAL_975


def figure_autocorrelation(figure: Figure) -> None:
    """A test that takes correlated minutes for independent ones raises an alarm in two of three
    half days without any change; hourly means bring it back to 7%.

    720 values a minute apart, two-sided 5% level. Curve: formula. Points: 700 simulated series or
    more, with 95% confidence intervals; the adjusted test estimates the correlation of neighbours.

    Alt: Line chart of false alarms in percent against the correlation of neighbouring minutes from
    0 to 0.97. The curve of the naive test starts at 5, passes 26 at 0.5 and 65 at 0.9 and reaches
    80; simulated points lie on it. The points of the adjusted test and of hourly means stay near 5
    until 0.8, are at 7 at 0.9 and rise to 12 and 15 at the right end.
    """
    axes = figure.subplots()
    grid = np.linspace(0, 0.975, 80)
    axes.plot(grid, [100 * false_alarm_rate(float(p), MINUTES) for p in grid], color="C3")
    days = _half_days()
    phis, counts = np.array(list(days)), [one["naive"].size for one in days.values()]
    for test, colour, marker, shift in (
        ("naive", "C3", "o", 0.0),
        ("adjusted", "C1", "s", -0.007),
        ("hours", "C0", "o", 0.007),
    ):
        shares = np.array([one[test].mean() for one in days.values()])
        halves = 196 * np.sqrt(shares * (1 - shares) / counts)
        axes.errorbar(phis + shift, 100 * shares, halves, fmt=marker, color=colour, markersize=4.5)
    axes.axhline(5.0, color="C4", linestyle=":", linewidth=1.2)
    for text, x, y, colour in (
        ("taken for independent", 0.12, 34, "C3"),
        ("adjusted for neighbours", 0.32, 9.5, "C1"),
        ("means of hours", 0.69, 15, "C0"),
    ):
        axes.annotate(text, (x, y), color=colour)
    axes.set(xlim=(-0.03, 1.0), ylim=(0, 85))
    axes.set(xlabel="correlation of neighbouring minutes φ", ylabel="false alarms [%]")


def check_inflation() -> None:
    """With φ = 0.9 the mean of half a day of minutes has 18.8 times the variance of independent
    ones: 720 minutes are worth 38.

    Source: the sum over all pairs of minutes; (1 + φ)/(1 − φ) = 19 for long series.
    """
    lags = np.arange(1, MINUTES)
    for phi in (-0.6, 0.0, 0.5, 0.9, 0.99):
        summed = 1 + 2 * float(((1 - lags / MINUTES) * phi**lags).sum())
        checks.close(f"φ = {phi}", variance_inflation(phi, MINUTES), summed, rtol=1e-9)
    checks.close("φ = 0.9, long", variance_inflation(0.9, 10**7), 19.0, atol=1e-4)
    checks.close("worth", MINUTES / variance_inflation(0.9, MINUTES), 38.4, atol=0.05)


def check_false_alarms_before() -> None:
    """Taken for independent, minutes with φ = 0.5 raise 26% false alarms and with φ = 0.9 65%.

    Source: 2,100 simulated series of 720 minutes each.
    """
    for phi in (0.0, 0.5, 0.9):
        alarms = batch_means(_half_days()[phi]["naive"].astype(float))
        slack = 3 * alarms.standard_error + 0.004  # s is estimated, the formula knows σ
        expected = false_alarm_rate(phi, MINUTES)
        checks.close(f"φ = {phi}", alarms.mean, expected, atol=slack, kind="simulation")


def check_false_alarms_after() -> None:
    """Hourly means bring the rate back to 5% at φ = 0.5 and to 7% at φ = 0.9; adjusting for the
    correlation of neighbours does as well.

    Source: 2,100 simulated series of 720 minutes each; for hours the tail of Student's t, stretched
    by the correlation that remains between neighbouring hours, computed from φ.
    """
    for phi in (0.5, 0.9):
        whole = variance_inflation(phi, MINUTES)
        hour = variance_inflation(phi, MINUTES // BATCHES)
        stretch = whole / ((hour - whole / BATCHES) * BATCHES / (BATCHES - 1))
        expected = _student_tail(STUDENT_T_975[11] / math.sqrt(stretch), BATCHES - 1)
        alarms = batch_means(_half_days()[phi]["hours"].astype(float))
        checks.covers(f"hours, φ = {phi}", alarms, expected)
        adjusted = batch_means(_half_days()[phi]["adjusted"].astype(float))
        slack = 3 * adjusted.standard_error
        checks.inside(f"adjusted, φ = {phi}", adjusted.mean, 0.05 - slack, 0.07 + slack)
    checks.close("t table", _student_tail(STUDENT_T_975[11], 11), 0.05, atol=5e-5)


def _student_tail(limit: float, degrees: int) -> float:
    """P(|t| > limit), by integrating the density."""
    grid = np.linspace(0.0, limit, 2001)
    density = (1 + grid**2 / degrees) ** (-(degrees + 1) / 2)
    scale = math.gamma((degrees + 1) / 2) / math.gamma(degrees / 2)
    inside = 2 * scale / math.sqrt(math.pi * degrees) * np.trapezoid(density, grid)
    return 1 - float(inside)


def check_baseline_beside_the_canary() -> None:
    """Compared with the hours before, a canary without any change is blamed for the load in half of
    the half days; compared with a baseline at the same time, in 5%.

    Source: 1,400 simulated half days in which load and noise contribute equally; the formula for
    the sum of an AR(1) difference and noise.
    """
    apart, together = _shared_cause()
    half = MINUTES // 2
    share = batch_means(together.astype(float))
    checks.covers("baseline beside it", share, 0.05)
    lag_sum = variance_inflation(0.9, half) - _between_halves(0.9, half)
    inflation = (lag_sum + 1) / 2
    expected = 2 * NormalDist().cdf(-NORMAL_975 / math.sqrt(inflation))
    share = batch_means(apart.astype(float))
    slack = 3 * share.standard_error + 0.01  # s is estimated from correlated values
    checks.close("hours before", share.mean, expected, atol=slack, kind="simulation")


def _between_halves(phi: float, half: int) -> float:
    """n·Cov(mean of the first half, mean of the second half) of AR(1) with variance 1."""
    t = np.arange(half)
    return float((phi ** (half + t[None, :] - t[:, None])).sum()) / half


def check_bad_input_is_refused() -> None:
    """A perfect correlation, constant series, too few values and one batch are errors."""
    checks.raises("φ = 1", variance_inflation, 1.0, 10, match="correlation must be in (−1, 1)")
    checks.raises("constant", naive_z, [1.0, 1.0], match="series must be not constant")
    checks.raises("too few", batch_t, [1.0, 2.0, 3.0], 2, match="series must be at least 4 values")
    checks.raises("one batch", batch_t, [1.0, 2.0], 1, match="batches must be an integer ≥ 2")
    checks.raises("NaN", adjusted_z, [math.nan] * 10, match="series must be finite")
