"""With a rate that moves over the day, requests in progress peak later and lower than the rate.

Arrivals at rate λ(t) = λ̄ + A·sin(ωt), ω = 2π/period, each in progress for an exponential time of
mean S with nobody waiting, leave a Poisson number in progress with mean λ̄S + AS·sin(ωt − φ)/√(1 +
ω²S²), φ = arctan(ωS). The peak comes φ/ω ≤ S after the peak of the rate.

Assumes: a nonhomogeneous Poisson process, unlimited servers, exponential service; the cycle has run
for many S.

Source: Eick, Massey and Whitt (1993a, 1993b); Lewis and Shedler (1979) for thinning.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.arrival_rates.arrival_models import _uniform_in_order
from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_positive,
    require_shape,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

HOUR_S = 3600.0  # seconds


def thinned_arrivals(
    rng: np.random.Generator,
    rate: Callable[[FloatArray], FloatArray],
    ceiling: float,
    horizon_s: float,
) -> FloatArray:
    """Arrivals of a Poisson process whose rate is any function of time, by thinning.

    rate: λ(t) [1/s] for an array of times [s], in [0, ceiling]. ceiling: upper bound on λ [1/s].
    horizon_s: end [s].
    Candidates come at the ceiling's rate, and one at t is kept with probability λ(t)/ceiling.
    Returns sorted times [s].
    Raises ValueError when the rate leaves [0, ceiling] at a candidate, or on a bound or horizon
    that is not positive.
    Source: Lewis and Shedler (1979).

    >>> times = thinned_arrivals(np.random.default_rng(0), lambda t: 100.0 * (t > 5.0), 100.0, 6.0)
    >>> bool(times.min() > 5.0), 70 < times.size < 130
    (True, True)
    """
    ceiling, horizon_s = require_positive(ceiling=ceiling, horizon_s=horizon_s)
    require_work(ceiling * horizon_s, ceiling=ceiling, horizon_s=horizon_s)
    candidates = _uniform_in_order(rng, rng.poisson(ceiling * horizon_s), horizon_s)
    rates = np.asarray(rate(candidates), dtype=float)
    require_shape(candidates.shape, rate=rates)
    require(
        np.all((rates >= 0) & (rates <= ceiling)),
        "rate",
        f"in [0, {ceiling:g}], the ceiling",
        (float(rates.min(initial=math.inf)), float(rates.max(initial=-math.inf))),
    )
    return np.asarray(candidates[rng.uniform(0.0, ceiling, candidates.size) < rates])


def _cycle(
    mean_rate: float, amplitude: float, period_s: float, mean_service_s: float
) -> tuple[float, float, float, float]:
    """The same numbers; refuse a cycle with a negative rate, or times that are not positive."""
    mean_rate = require_positive(mean_rate=mean_rate)
    amplitude = as_number(amplitude=amplitude)
    require(
        0 <= amplitude <= mean_rate, "amplitude", f"in [0, {mean_rate:g}], the mean rate", amplitude
    )
    period_s, mean_service_s = require_positive(period_s=period_s, mean_service_s=mean_service_s)
    return mean_rate, amplitude, period_s, mean_service_s


def peak_lag(period_s: float, mean_service_s: float) -> float:
    """Time from the peak of the rate to the peak of the requests in progress, arctan(ωS)/ω [s].

    period_s: length of the cycle [s]. mean_service_s: S [s]. Nearly S when S is short against the
    cycle, never more than a quarter of the cycle. Raises ValueError unless both are positive and
    finite.

    >>> round(peak_lag(period_s=2 * math.pi, mean_service_s=1.0), 12) == round(math.pi / 4, 12)
    True
    """
    _, _, period_s, mean_service_s = _cycle(1.0, 0.0, period_s, mean_service_s)
    omega = 2 * math.pi / period_s
    return math.atan(omega * mean_service_s) / omega


def busy_mean(
    time_s: npt.ArrayLike,
    mean_rate: float,
    amplitude: float,
    period_s: float,
    mean_service_s: float,
) -> FloatArray:
    """Mean number of requests in progress at each time, when the rate is λ̄ + A·sin(2πt/period).

    time_s: t [s], any shape. mean_rate: λ̄ [1/s]. amplitude: A in [0, λ̄] [1/s]. period_s,
    mean_service_s: [s].
    The number itself is Poisson with this mean. Returns the means in the shape of time_s.
    Raises ValueError outside these ranges. Source: Eick, Massey and Whitt (1993b).

    >>> busy_mean([0.0], mean_rate=2.0, amplitude=0.0, period_s=10.0, mean_service_s=3.0).tolist()
    [6.0]
    """
    mean_rate, amplitude, period_s, mean_service_s = _cycle(
        mean_rate, amplitude, period_s, mean_service_s
    )
    time = as_floats(time_s=time_s)
    require(np.all(np.isfinite(time)), "time_s", "finite", time_s)
    omega = 2 * math.pi / period_s
    swing = amplitude * mean_service_s / math.hypot(1.0, omega * mean_service_s)
    late = time - peak_lag(period_s, mean_service_s)
    return np.asarray(mean_rate * mean_service_s + swing * np.sin(omega * late))


def peak_busy(mean_rate: float, amplitude: float, period_s: float, mean_service_s: float) -> float:
    """Largest mean number of requests in progress over the cycle, λ̄S + AS/√(1 + ω²S²).

    Arguments and errors as for `busy_mean`.

    >>> peak_busy(mean_rate=2.0, amplitude=0.0, period_s=10.0, mean_service_s=3.0)
    6.0
    """
    mean_rate, amplitude, period_s, mean_service_s = _cycle(
        mean_rate, amplitude, period_s, mean_service_s
    )
    omega = 2 * math.pi / period_s
    return mean_service_s * (mean_rate + amplitude / math.hypot(1.0, omega * mean_service_s))


def example() -> SimpleNamespace:
    """Worked numbers of the daily cycle: 100 and 60 per hour over 24 h."""
    rate, swing, day = 100 / HOUR_S, 60 / HOUR_S, 24 * HOUR_S
    session = 8 * HOUR_S
    return SimpleNamespace(
        day_peak=peak_busy(rate, swing, day, 0.5 * HOUR_S),
        day_lag_min=peak_lag(day, 0.5 * HOUR_S) / 60,
        day_naive_peak=(rate + swing) * 0.5 * HOUR_S,
        short_lag_s=peak_lag(day, 10.0),
        session_lag_h=peak_lag(day, session) / HOUR_S,
        session_peak_share=peak_busy(rate, swing, day, session) / ((rate + swing) * session),
    )


def _in_progress(
    rng: np.random.Generator, hours: FloatArray, days: int, mean_service_h: float
) -> FloatArray:
    """Requests in progress at each hour of each day, shape (days, hours), simulated after a day of
    warm-up.
    """
    arrivals = thinned_arrivals(
        rng, lambda t: 100 + 60 * np.sin(2 * math.pi * t / 24), 160.0, 24.0 * (days + 1)
    )
    leaves = arrivals + rng.exponential(mean_service_h, arrivals.size)
    moments = (24.0 * (1 + np.arange(days)[:, None]) + hours).ravel()
    next_moment = np.searchsorted(moments, leaves, side="right")
    went = np.cumsum(np.bincount(next_moment, minlength=moments.size + 1))[:-1]
    return np.reshape(np.searchsorted(arrivals, moments) - went, (days, -1)).astype(float)


def figure_daily_lag(figure: Figure) -> None:
    """Long sessions peak hours after the rate does, and lower; short requests follow it.

    A rate of 100 ± 60 per hour over a day. Lines are exact means, divided by λ̄S so that they can
    be compared; points are averages of 60 simulated days.

    Alt: Line chart over 24 hours. The arrival rate over its mean peaks at 1.6 at hour 6. Requests
    of half an hour follow it half an hour later at almost the same height. Sessions of eight hours
    peak at hour 10.3 at about 1.26. Simulated points lie on both curves.
    """
    rng = np.random.default_rng(24)
    axes = figure.subplots()
    hours = np.linspace(0, 24, 200)
    axes.plot(hours, 1 + 0.6 * np.sin(2 * math.pi * hours / 24), color="C4", linestyle=":")
    for service, colour in ((0.5, "C0"), (8.0, "C1")):
        level = 100 * service
        axes.plot(hours, busy_mean(hours, 100.0, 60.0, 24.0, service) / level, color=colour)
        points = np.arange(1.0, 24.0, 2.0)
        seen = _in_progress(rng, points, 60, service).mean(axis=0)
        axes.plot(points, seen / level, "o", color=colour)
    axes.annotate("arrival rate", (5.8, 1.65), color="C4", ha="center")
    axes.annotate("requests of 30 min", (9.4, 1.46), color="C0", ha="left")
    axes.annotate("sessions of 8 h", (13.3, 1.22), color="C1", ha="left")
    axes.set(
        xlim=(0, 24),
        ylim=(0.3, 1.8),
        xticks=range(0, 25, 4),
        xlabel="time of day [h]",
        ylabel="relative to the daily mean",
    )


def check_peak_and_lag() -> None:
    """At 100 ± 60 requests per hour that take half an hour each, 79.7 are in progress at the peak,
    0.497 h late.

    Source: Eick, Massey and Whitt (1993b): the formulas evaluated by hand, and the balance m' =
    λ(t) − m/S integrated by fourth-order Runge–Kutta over four days.
    """
    rate, swing, day, service = 100 / HOUR_S, 60 / HOUR_S, 24 * HOUR_S, 0.5 * HOUR_S
    peak = peak_busy(rate, swing, day, service)
    lag = peak_lag(day, service) / HOUR_S
    checks.close("peak in progress", peak, 79.7462, atol=5e-5)
    checks.close("lag [h]", lag, 0.49717, atol=5e-6)

    def slope(t: float, m: float) -> float:
        return 100 + 60 * math.sin(2 * math.pi * t / 24) - m / 0.5

    step, level, path = 0.01, 50.0, []
    for k in range(9600):  # hours
        t = k * step
        a = slope(t, level)
        b = slope(t + step / 2, level + step / 2 * a)
        c = slope(t + step / 2, level + step / 2 * b)
        d = slope(t + step, level + step * c)
        level += step / 6 * (a + 2 * b + 2 * c + d)
        path.append(level)
    last_day = np.array(path[-2400:])
    checks.close("peak, integrated", peak, last_day.max(), atol=2e-5)
    top = int(last_day.argmax())
    before, here, after = last_day[top - 1 : top + 2]
    vertex = (top + 1 + (before - after) / (2 * (before - 2 * here + after))) * step
    checks.close("lag, integrated [h]", lag, vertex - 6, atol=2e-5)
    moments = np.array([3.0, 9.0, 15.0, 22.0])
    formula = busy_mean(moments * HOUR_S, rate, swing, day, service)
    at = np.rint(moments / step).astype(int) - 1
    checks.close("mean at four hours, integrated", formula, last_day[at], atol=1e-6)


def check_in_progress_by_simulation() -> None:
    """Counted over 280 simulated days, requests in progress have the mean that the formula says, at
    the peak and after it.

    Source: thinned arrivals and exponential service over 280 days; days are independent, as service
    is short.
    """
    hours = np.array([6 + 0.49717, 12.0])
    seen = _in_progress(np.random.default_rng(2), hours, 280, 0.5)
    for j, expected in enumerate(busy_mean(hours, 100.0, 60.0, 24.0, 0.5)):
        day = seen[:, j]
        error = float(day.std(ddof=1) / math.sqrt(280))
        estimate = MeanEstimate(float(day.mean()), error, 0.0)
        checks.covers(f"in progress at hour {hours[j]:.1f}", estimate, float(expected))
    spread = float(seen[:, 0].var(ddof=1) / seen[:, 0].mean())
    checks.inside("variance over mean at the peak", spread, 1 - 0.26, 1 + 0.26)


def check_thinning() -> None:
    """Thinning leaves a Poisson number in every stretch, with mean ∫λ.

    Source: ∫λ over the two halves of a period by hand: λ̄/2 ± A/π; 4000 periods.
    """
    times = thinned_arrivals(
        np.random.default_rng(3), lambda t: 3 + 2 * np.sin(2 * math.pi * t), 5.0, 4000.0
    )
    counts = np.bincount((2 * times).astype(int), minlength=8000).reshape(-1, 2)
    for j, expected in enumerate((1.5 + 2 / math.pi, 1.5 - 2 / math.pi)):
        half = counts[:, j]
        error = float(half.std(ddof=1) / math.sqrt(4000))
        label = ("first half of the period", "second half")[j]
        checks.covers(label, MeanEstimate(float(half.mean()), error, 0.0), expected)
        spread = float(
            half.var(ddof=1) / half.mean()
        )  # standard error √(2/3999) for a Poisson count
        checks.inside(f"variance over mean, {label}", spread, 1 - 0.07, 1 + 0.07)


def check_lag_limits() -> None:
    """The lag is S for short requests, and a quarter of the cycle for endless ones, whose swing has
    gone.

    Source: arctan(x)/x → 1 and arctan(x) → π/2; 1/√(1+x²) → 0.
    """
    checks.close("10 s requests [s]", peak_lag(86400.0, 10.0), 10.0, rtol=1e-6)
    checks.close("100-year sessions [h]", peak_lag(24.0, 876_000.0), 6.0, rtol=1e-4)
    flat = peak_busy(100.0, 60.0, 24.0, 876_000.0) / (100.0 * 876_000.0)
    checks.close("their peak over their mean", flat, 1.0, atol=1e-5)


def check_bad_input_is_refused() -> None:
    """A negative rate at night, a ceiling that the rate exceeds, and times that are not positive
    are errors.
    """
    checks.raises(
        "swing above the mean", peak_busy, 1.0, 2.0, 24.0, 1.0, match="amplitude must be in [0, 1]"
    )
    checks.raises(
        "rate above the ceiling",
        thinned_arrivals,
        np.random.default_rng(0),
        lambda t: 2.0 + 0 * t,
        1.0,
        100.0,
        match="rate must be in [0, 1], the ceiling",
    )
    checks.raises("no service time", peak_lag, 24.0, 0.0, match="mean_service_s must be positive")
    checks.raises(
        "NaN time", busy_mean, [math.nan], 1.0, 0.5, 24.0, 1.0, match="time_s must be finite"
    )
