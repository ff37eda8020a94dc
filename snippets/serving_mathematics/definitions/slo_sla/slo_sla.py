"""A latency objective caps the load, for any queue whose quantile can be computed or simulated.

A service meets P(T ≤ t) ≥ q while its response quantile T_q(ρ) at utilization ρ is at most t. The
quantile rises with ρ, so the largest such ρ, the load cap, is found by bisection; for M/M/1 it is
ρ_max = 1 − ln(1/(1−q))·S/t. A simulated quantile rises too if every load replays the same
interarrival and service times, the former divided by ρ: no wait gets shorter when arrivals move
together.

Assumes: first come first served for the simulated queue; the quantile rises with utilization.

Source: Beyer et al. (2016), chapter 4, for the terms; Lindley (1952) for the waits; Google Cloud
Monitoring for request-based and windows-based indicators.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.erlang import (
    erlang_c,
    max_utilization,
    mean_wait,
    response_quantile,
)
from serving_mathematics.core.queues.queue_simulator import MeanEstimate, fifo_waits, gamma_times
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import STUDENT_T_975
from serving_mathematics.support.require import as_floats, as_number, require, require_in

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_LOAD = 1e-90  # below which gaps would pass the range of sizes, and nobody waits anyway


def load_cap(quantile: Callable[[float], float], objective_s: float) -> float:
    """Highest utilization at which a response quantile stays within the objective, by bisection.

    quantile: maps ρ in [0, 1) to the quantile [s], non-decreasing. objective_s: t [s], at least
    quantile(0). Raises ValueError when the objective is missed even idle, or is not finite.

    >>> round(load_cap(lambda rho: 2.0 / (1 - rho), objective_s=8.0), 12)
    0.75
    """
    objective_s = as_number(objective_s=objective_s)
    require(
        quantile(0.0) <= objective_s < math.inf,
        "objective_s",
        "finite and at least the quantile of an idle server",
        objective_s,
    )
    low, high = 0.0, 1.0
    for _ in range(42):  # to 2e-13
        middle = (low + high) / 2
        if quantile(middle) <= objective_s:
            low = middle
        else:
            high = middle
    return low


def simulated_quantile(
    probability: float, utilization: float, gaps: npt.ArrayLike, services: npt.ArrayLike
) -> float:
    """Response quantile of one first-come-first-served server, in mean service times.

    probability: q in (0, 1). utilization: ρ in [0, 1). gaps, services: interarrival and service
    times, shape (n,), non-negative; both are scaled to mean 1 and the gaps then to 1/ρ, so that the
    result never falls when ρ rises. Uses the queue simulator. Raises ValueError outside these
    ranges.

    >>> simulated_quantile(0.5, 0.5, gaps=[1.0, 1.0, 1.0], services=[1.0, 1.0, 1.0])
    1.0
    """
    probability = require_in("(0, 1)", probability=probability)
    utilization = require_in("[0, 1)", utilization=utilization)
    apart, work = as_floats(gaps=gaps), as_floats(services=services)
    require(apart.ndim == 1 and apart.size > 0, "gaps", "a non-empty list", gaps)
    require(work.shape == apart.shape, "services", f"of shape {apart.shape}", services)
    require(np.all(apart >= 0) and 0 < apart.sum() < math.inf, "gaps", "of a positive mean", gaps)
    require(
        np.all(work >= 0) and 0 < work.sum() < math.inf, "services", "of a positive mean", services
    )
    work = work / work.mean()
    if utilization == 0:
        return float(np.quantile(work, probability))
    gaps = apart / apart.mean() / max(utilization, LEAST_LOAD)
    arrivals = np.cumsum(gaps)
    return float(np.quantile(fifo_waits(arrivals, work) + work, probability))


def request_attainment(good: npt.ArrayLike, total: npt.ArrayLike) -> float:
    """Share of good requests over all windows together.

    good, total: requests per window, shape (n,), 0 ≤ good ≤ total, with some traffic.
    Raises ValueError otherwise.

    >>> request_attainment(good=[90, 10], total=[100, 100])
    0.5
    """
    right, every = as_floats(good=good), as_floats(total=total)
    require(right.ndim == 1 and right.shape == every.shape, "good", "as long as total", good)
    require(np.all((every >= 0) & (every < math.inf)), "total", "non-negative and finite", total)
    require(np.all((right >= 0) & (right <= every)), "good", "between 0 and total", good)
    require(every.sum() > 0, "total", "positive in some window", total)
    return float(right.sum() / every.sum())


def window_attainment(good: npt.ArrayLike, total: npt.ArrayLike, threshold: float) -> float:
    """Share of windows whose own good share is at least the threshold; empty windows are good.

    good, total: requests per window, shape (n,), 0 ≤ good ≤ total. threshold: in (0, 1].
    Raises ValueError otherwise.

    >>> window_attainment(good=[90, 10], total=[100, 100], threshold=0.9)
    0.5
    """
    right, every = as_floats(good=good), as_floats(total=total)
    require(right.ndim == 1 and right.size > 0, "good", "a non-empty list", good)
    require(every.shape == right.shape, "total", f"of shape {right.shape}", total)
    require(np.all((every >= 0) & (every < math.inf)), "total", "non-negative and finite", total)
    require(np.all((right >= 0) & (right <= every)), "good", "between 0 and total", good)
    threshold = require_in("(0, 1]", threshold=threshold)
    return float(np.mean(right >= threshold * every))


def _pool_quantile(utilization: float, servers: int) -> float:
    """p99 of the response of M/M/c, whose tail mixes two exponentials, by bisection."""
    waiting, rate = erlang_c(servers, utilization * servers), servers * (1 - utilization)

    def exceeds(t: float) -> float:
        spread = (
            t * math.exp(-t) if rate == 1 else (math.exp(-t) - math.exp(-rate * t)) / (rate - 1)
        )
        return math.exp(-t) + waiting * spread

    low, high = 0.0, 1e4
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if exceeds(middle) > 0.01 else (low, middle)
    return high


def _bursty_quantile(utilization: float, probability: float = 0.99) -> float:
    """Quantile of the response with gamma arrivals of C_a² = 4 and exponential service.

    The response is exponential with mean 1/(1−σ), where σ solves σ = A*(1−σ) (Kendall 1953).
    """
    sigma = 0.5
    for _ in range(400 if utilization else 0):
        sigma = (1 + 4 * (1 - sigma) / utilization) ** -0.25
    return -math.log1p(-probability) / (1 - sigma if utilization else 1)


STREAMS = 8  # independent runs of a simulated curve


def _over_streams(values: list[float]) -> MeanEstimate:
    """Mean over the streams, and its 95% interval by Student's t."""
    error = float(np.std(values, ddof=1)) / math.sqrt(STREAMS)
    return MeanEstimate(float(np.mean(values)), error, STUDENT_T_975[7] * error)


def _constant_service() -> list[Callable[[float], float]]:
    """p99 against load with Poisson arrivals and constant service, one for each stream."""
    rng, size = np.random.default_rng(41), 17_500
    return [
        partial(simulated_quantile, 0.99, gaps=rng.exponential(1.0, size), services=np.ones(size))
        for _ in range(STREAMS)
    ]


def _bursty_arrivals() -> list[Callable[[float], float]]:
    """p99 against load with gamma arrivals of C_a² = 4 and exponential service, by stream."""
    rng, size = np.random.default_rng(42), 17_500
    return [
        partial(
            simulated_quantile,
            0.99,
            gaps=gamma_times(rng, 1.0, 4.0, size),
            services=rng.exponential(1.0, size),
        )
        for _ in range(STREAMS)
    ]


@cache
def _constant_cap() -> MeanEstimate:
    """Load cap for ten service times that are constant, found on each stream by the secant method,
    which takes few steps because 1/p99 is nearly a line.
    """
    caps = []
    for quantile in _constant_service():
        (before, off), load = (0.7, 1 / quantile(0.7) - 0.1), 0.8
        while abs(load - before) > 1e-7 and (miss := 1 / quantile(load) - 0.1) != off:
            before, off, load = load, miss, load - miss * (load - before) / (miss - off)
        caps.append(load)
    return _over_streams(caps)


def example() -> SimpleNamespace:
    """Worked numbers of the objectives."""
    total = np.array([100.0] * 9 + [1100.0])
    quiet, peak = total.copy(), total.copy()
    quiet[0], peak[-1] = 0, 0
    constant = _constant_cap()
    return SimpleNamespace(
        cap_p99_10=load_cap(lambda rho: response_quantile(0.99, rho, 1.0), 10.0),
        cap_p95_10=load_cap(lambda rho: response_quantile(0.95, rho, 1.0), 10.0),
        cap_pool=load_cap(lambda rho: _pool_quantile(rho, 8), 10.0),
        cap_bursty=load_cap(_bursty_quantile, 10.0),
        cap_constant=constant.mean,
        cap_constant_ci=100 * constant.half_width,
        quiet_by_requests=request_attainment(quiet, total),
        quiet_by_windows=window_attainment(quiet, total, 0.99),
        peak_by_requests=request_attainment(peak, total),
    )


def figure_load_cap(figure: Figure) -> None:
    """One objective, 99% within ten service times, allows very different loads.

    The cap is where a queue's 99th percentile crosses the objective. Points are means of eight
    simulated streams, each used at all loads, with 95% intervals.

    Alt: Line chart of the 99th percentile of the response in service times against utilization,
    logarithmic. A dotted line marks ten. Bursty arrivals cross it at 0.17, exponential service at
    0.54, constant service at 0.78 and eight servers at 0.94, each marked by a diamond. Simulated
    points lie on the curves of the bursty and the constant case.
    """
    axes = figure.subplots()
    bursty, constant = _bursty_arrivals(), _constant_service()
    exponential = partial(response_quantile, 0.99, mean_service_s=1.0)
    rho, loads = np.linspace(0.02, 0.97, 60), np.linspace(0.06, 0.92, 8)
    cases: tuple[tuple[str, Callable[[float], float], float], ...] = (
        ("C3", _bursty_quantile, load_cap(_bursty_quantile, 10.0)),
        ("C0", exponential, load_cap(exponential, 10.0)),
        (
            "C2",
            partial(_pool_quantile, servers=8),
            load_cap(partial(_pool_quantile, servers=8), 10.0),
        ),
    )
    for colour, curve, cap in cases:
        axes.semilogy(rho, [curve(r) for r in rho.tolist()], color=colour)
        axes.plot(cap, 10.0, "D", color=colour, ms=7)
    for streams, colour, style in ((bursty, "C3", "o"), (constant, "C1", "o-")):
        points = [_over_streams([p99(r) for p99 in streams]) for r in loads.tolist()]
        axes.errorbar(
            loads,
            [point.mean for point in points],
            [point.half_width for point in points],
            fmt=style,
            color=colour,
            ms=4,
        )
    axes.plot(_constant_cap().mean, 10.0, "D", color="C1", ms=7)
    axes.axhline(10.0, color="C4", linestyle=":")
    for text, x, y, colour in (
        ("bursty arrivals", 0.27, 18, "C3"),
        ("M/M/1", 0.62, 14.5, "C0"),
        ("constant service", 0.44, 2.5, "C1"),
        ("eight servers", 0.80, 4.2, "C2"),
    ):
        axes.annotate(text, (x, y), color=colour, ha="right" if colour in ("C0", "C3") else "left")
    axes.set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    axes.minorticks_off()
    axes.set(
        xlim=(0, 1),
        ylim=(0.9, 60),
        xlabel="utilization ρ",
        ylabel="99th percentile of the response [S]",
    )


def check_load_cap_of_one_server() -> None:
    """Bisection finds the closed form: 99% within ten service times allow ρ = 0.539483.

    Source: 1 − ln(100)/10 by hand, and the closed form of the utilization chapter.
    """
    cap = load_cap(lambda rho: response_quantile(0.99, rho, 1.0), 10.0)
    checks.close("p99 ≤ 10 S", cap, 0.5394830, atol=5e-8)
    for q, t in ((0.9, 4.0), (0.95, 10.0), (0.999, 50.0)):
        got = load_cap(partial(response_quantile, q, mean_service_s=1.0), t)
        checks.close(f"q = {q}, t = {t:g} S", got, max_utilization(q, t), rtol=1e-12)


def check_load_cap_of_simulated_queues() -> None:
    """A simulated queue has the quantile of its closed form, and bisection meets the objective.

    Source: gamma arrivals with exponential service, whose response is exponential (Kendall 1953);
    the standard error is that of ten independent runs of 28,000. Its cap by hand: with
    σ = 1 − ln(100)/10 the load is 4(1−σ)/(σ⁻⁴ − 1). For eight servers the tail, by hand: at the
    cap 1% of the responses take more than ten service times.
    """
    rng = np.random.default_rng(43)
    for rho in (0.3, 0.6):
        runs = np.array(
            [
                simulated_quantile(
                    0.9, rho, gamma_times(rng, 1.0, 4.0, 28_000), rng.exponential(1.0, 28_000)
                )
                for _ in range(10)
            ]
        )
        error = float(runs.std(ddof=1)) / math.sqrt(10)
        checks.covers(
            f"p90 at ρ = {rho}",
            MeanEstimate(float(runs.mean()), error, 2.26 * error),
            _bursty_quantile(rho, 0.9),
        )
    sigma = 1 - math.log(100) / 10
    by_hand = 4 * (1 - sigma) / (sigma**-4 - 1)
    checks.close("bursty arrivals, cap", load_cap(_bursty_quantile, 10.0), by_hand, rtol=1e-9)
    cap = load_cap(lambda rho: _pool_quantile(rho, 8), 10.0)
    rate = 8 * (1 - cap)  # at which the wait decays
    waits = mean_wait(8 * cap, 1.0, servers=8) * rate  # share of requests that wait
    late = (1 - waits) * math.exp(-10) + waits * (
        math.exp(-rate * 10) * 1 - rate * math.exp(-10)
    ) / (1 - rate)
    checks.close("eight servers at the cap: late", late, 0.01, rtol=1e-9)
    gaps = rng.exponential(1.0, 5_000)
    cap = load_cap(partial(simulated_quantile, 0.95, gaps=gaps, services=gaps[::-1]), 6.0)
    at = simulated_quantile(0.95, cap, gaps, gaps[::-1])
    checks.close("simulated quantile at its cap", at, 6.0, rtol=1e-6)


def check_two_indicators_disagree() -> None:
    """One bad window of ten is 10% by windows, and 5% or 55% by requests.

    Source: counted by hand: 100 or 1,100 of 2,000 requests fail.
    """
    total = np.array([100.0] * 9 + [1100.0])
    quiet, peak = total.copy(), total.copy()
    quiet[0], peak[-1] = 0, 0
    checks.close("quiet window, by requests", request_attainment(quiet, total), 0.95, rtol=1e-12)
    checks.close("quiet window, by windows", window_attainment(quiet, total, 0.99), 0.9, rtol=1e-12)
    checks.close("peak window, by requests", request_attainment(peak, total), 0.45, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Unreachable objectives, unstable loads and impossible counts are errors."""
    checks.raises("idle misses", load_cap, lambda rho: 2 + rho, 1.0, match="objective_s must be")
    checks.raises("more good than all", request_attainment, [2], [1], match="good must be")
    checks.raises("threshold", window_attainment, [1], [1], 0.0, match="threshold must be")
