"""Whether arrivals are Poisson is decided by counts in windows.

For counts N(w) in windows of length w the index of dispersion is I(w) = Var N(w)/E N(w): 1 at every
w for a Poisson process, and a function of w for anything else. Over k windows of a Poisson process
(k−1)·I is close to χ² with k−1 degrees of freedom, which makes a test.

Assumes: a stationary stream for I; the test assumes one constant rate per row of counts.

Source: Gusella (1991), abstract, for the index and why gaps alone do not show burstiness; Kim and
Whitt (2014), abstract, for testing subintervals whose rate is nearly constant.
"""

from __future__ import annotations

import bisect
import math

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import (
    MeanEstimate,
    gamma_times,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_non_negative,
    require_positive_integer,
    require_work,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MAX_WINDOWS = 10_000_000  # windows; a window this much shorter than the log is a mistake of units


def _sorted_times(arrival_times: npt.ArrayLike) -> FloatArray:
    """The times as an array, refused unless they are at least two, finite, sorted and not all
    equal.
    """
    times = as_floats(arrival_times=arrival_times)
    require(
        times.ndim == 1 and times.size >= 2,
        "arrival_times",
        "at least two times in one dimension",
        times.shape,
    )
    require(
        np.all(np.isfinite(times)) and np.all(np.diff(times) >= 0) and times[-1] > times[0],
        "arrival_times",
        "finite, sorted and not all equal",
        times,
    )
    return times


def gap_cv(arrival_times: npt.ArrayLike) -> float:
    """Coefficient of variation of the gaps between arrivals, with n − 1 in the variance: 1 for a
    Poisson process.

    arrival_times: sorted times [s], shape (n,), n ≥ 3. Raises ValueError on fewer, unsorted or
    non-finite times.

    >>> gap_cv([0.0, 1.0, 4.0])
    0.7071067811865476
    """
    times = _sorted_times(arrival_times)
    require(times.size >= 3, "arrival_times", "at least three times", times.shape)
    gaps = np.diff(times)
    return float(gaps.std(ddof=1) / gaps.mean())


def window_counts(arrival_times: npt.ArrayLike, window_s: float) -> IntArray:
    """Arrivals in consecutive windows that start at the first arrival; the incomplete last window
    is left out.

    arrival_times: sorted times [s], shape (n,). window_s: length of a window [s]; at least two must
    fit.
    Returns the counts, shape (windows,). An arrival on a boundary belongs to the window that it
    opens.
    Raises ValueError on unsorted or non-finite times, or a window that does not fit twice.

    >>> window_counts([0.0, 0.5, 1.0, 1.2, 1.9, 2.5], 1.0).tolist()
    [2, 3]
    """
    window_s = as_number(window_s=window_s)
    times = _sorted_times(arrival_times)
    span = float(times[-1] - times[0])
    require(
        span / MAX_WINDOWS <= window_s <= span / 2,
        "window_s",
        f"between {span / MAX_WINDOWS:.3g} and {span / 2:.6g}, half the span of the arrivals",
        window_s,
    )
    index = _windows_before(times, window_s)
    return np.bincount(index)[: index[-1]]


def _windows_before(times: FloatArray, window_s: float) -> IntArray:
    """Whole windows between the first time and each; a time on a boundary, as far as floats tell
    decimals, is on it."""
    count = (times - times[0]) / window_s
    rounding = 2 * np.spacing(np.abs(times).max()) / window_s + 4 * np.spacing(count)
    nearest = np.rint(count)
    whole = np.where(np.abs(count - nearest) <= rounding, nearest, np.floor(count))
    return np.asarray(whole, dtype=np.int64)


def _per_row_dispersion(counts: npt.ArrayLike) -> FloatArray:
    """Variance (n − 1) over mean of every row of counts; a single row may come without its second
    dimension.
    """
    rows = np.atleast_2d(as_floats(counts=counts))
    require(
        rows.ndim == 2 and rows.shape[1] >= 2,
        "counts",
        "(windows,) or (rows, windows) with at least two windows",
        np.shape(counts),
    )
    require(
        np.all((rows >= 0) & (rows < math.inf)) and np.all(rows == np.floor(rows)),
        "counts",
        "non-negative integers",
        counts,
    )
    require(
        np.all(rows.sum(axis=1) > 0), "counts", "positive somewhere in every row", rows.sum(axis=1)
    )
    return np.asarray(rows.var(axis=1, ddof=1) / rows.mean(axis=1))


def dispersion_index(counts: npt.ArrayLike) -> float:
    """Index of dispersion, variance (with n − 1) over mean: 1 for Poisson counts, above it for
    bursts.

    counts: arrivals per window, shape (n,); or (rows, n), where every row is measured against its
    own mean and the rows are averaged, so that a rate that drifts from row to row does not pass for
    burstiness.
    Raises ValueError on fewer than two windows, counts that are not whole, or an empty row.

    >>> dispersion_index([2, 4])
    0.6666666666666666
    >>> dispersion_index([[2, 4], [0, 8]])
    4.333333333333333
    """
    return float(_per_row_dispersion(counts).mean())


def dispersion_p_value(counts: npt.ArrayLike) -> float:
    """Probability that Poisson arrivals at a constant rate scatter at least this much: the
    dispersion test.

    counts: as for `dispersion_index`, a constant rate per row; about five arrivals a window or more
    keep χ² accurate.
    Returns P(χ² ≥ Σ(n−1)I) with rows·(n−1) degrees of freedom. Small means bursts or a rate that
    moved; close to 1 means paced traffic, which is not Poisson either. Raises ValueError as
    `dispersion_index` does.

    >>> round(dispersion_p_value([9, 11, 10, 10, 30]), 6)
    0.000127
    """
    index = _per_row_dispersion(counts)
    freedom = np.asarray(counts).shape[-1] - 1
    return chi_square_tail(float(freedom * index.sum()), freedom * index.size)


def chi_square_tail(x: float, freedom: int) -> float:
    """P(χ² ≥ x) with the given degrees of freedom, the regularised incomplete gamma function Q.

    x: ≥ 0. freedom: positive integer. Evaluated by the series of P below the mean and by Lentz's
    continued fraction of Q above it. Raises ValueError outside these ranges.

    >>> round(chi_square_tail(23.0, 4), 6) == round(math.exp(-11.5) * (1 + 11.5), 6)
    True
    """
    x = require_non_negative(x=x)
    freedom = require_positive_integer(freedom=freedom)
    require_work(4 * math.sqrt(freedom), freedom=freedom)
    shape, half = freedom / 2, x / 2
    if half == 0:
        return 1.0
    scale = math.exp(shape * math.log(half) - half - math.lgamma(shape))
    if half < shape + 1:
        term = total = 1 / shape
        k = shape
        while term > total * 1e-16:
            k += 1
            term *= half / k
            total += term
        return 1 - scale * total
    b = half + 1 - shape
    c, d = 1e300, 1 / b
    fraction, change, i = d, 0.0, 0
    while abs(change - 1) > 1e-15:
        i += 1
        step = -i * (i - shape)
        b += 2
        d, c = 1 / (step * d + b), b + step / c
        change = d * c
        fraction *= change
    return scale * fraction


def _false_alarms(rng: np.random.Generator, means: FloatArray, logs: int = 2000) -> MeanEstimate:
    """How often the dispersion test at the 5% level rejects Poisson counts with the given means."""
    counts = rng.poisson(means, (logs, *means.shape))
    index = _per_row_dispersion(counts.reshape(-1, means.shape[-1])).reshape(logs, -1)
    freedom = means.shape[-1] - 1  # in each row, as in `dispersion_p_value`
    scatter = np.sort(freedom * index.sum(axis=1))[::-1].tolist()  # those that raise it come first
    share = (
        bisect.bisect_left(
            scatter, 0.05, key=lambda x: chi_square_tail(x, freedom * index.shape[1])
        )
        / logs
    )
    error = math.sqrt(share * (1 - share) / logs)
    return MeanEstimate(share, error, 1.96 * error)


def check_dispersion_test_published() -> None:
    """Thirty counts from a textbook on process control give the published statistic and p-value.

    Source: Wetherill and Brown (1991), pp. 212–213 and 216–218, as the manual of the R package qcc
    prints them (overdispersion test).
    """
    counts = [11, 8, 13, 11, 13, 17, 25, 23, 11, 16, 9, 15, 10, 16, 12]
    counts += [8, 9, 15, 4, 12, 12, 12, 15, 17, 14, 17, 12, 12, 7, 16]
    checks.close(
        "variance over mean", dispersion_index(counts), 1.472203, atol=5e-7, kind="published"
    )
    checks.close("p-value", dispersion_p_value(counts), 0.048579, atol=5e-7, kind="published")


def check_false_alarms() -> None:
    """On Poisson traffic, the test at the 5% level raises a false alarm in 5% of logs. A rate that
    climbs from three arrivals per window to eight is found in most logs.

    Source: 2000 simulated logs of 60 windows each, at 5.5 and at 1 arrival per window, and one
    whose rate moves from 3 to 8 in six steps, tested row by row; binomial standard error.
    """
    rng = np.random.default_rng(6)
    checks.covers("5.5 per window", _false_alarms(rng, np.full((1, 60), 5.5)), 0.05)
    checks.covers("1 per window", _false_alarms(rng, np.full((1, 60), 1.0)), 0.05)
    drift = np.repeat(np.linspace(3.0, 8.0, 6), 10).reshape(6, 10)
    checks.covers("rate that moves, by rows", _false_alarms(rng, drift), 0.05)
    pooled = _false_alarms(rng, drift.reshape(1, 60)).mean
    checks.inside("rate that moves, as one row: mostly alarm", pooled, 0.4, 1.0)


def check_renewal_limit() -> None:
    """If gaps are independent, the dispersion in long windows is their CV²: for gamma gaps with
    k = 1/4 it reaches 4.

    Source: renewal theory, I(∞) = Ca² = 1/k; 28 simulated runs of 250 windows with 200 arrivals
    each.
    """
    rng = np.random.default_rng(12)
    times = np.cumsum(gamma_times(rng, 1.0, 4.0, (28, 51_000)), axis=1)
    runs = [dispersion_index(window_counts(run, 200.0)) for run in times]
    error = float(np.std(runs, ddof=1) / math.sqrt(28))
    checks.covers("I(200 s)", MeanEstimate(float(np.mean(runs)), error, 0.0), 4.0)
    checks.close("CV of the gaps", gap_cv(times[0]), 2.0, atol=0.1, kind="simulation")
