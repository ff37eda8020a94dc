"""A latency objective caps the load, and the agreement's tiers price a month that misses.

A service meets P(T ≤ t) ≥ q while its response quantile at utilization ρ is at most t; the largest
such ρ is the load cap, found by bisection. For M/M/1 it is ρ_max = 1 − ln(1/(1−q))·S/t. With floors
s_1 > s_2 > … and credits c_1 < c_2 < …, E[credit] = Σ c_i·P(s_{i+1} ≤ A < s_i) for attainment A.

Assumes: the quantile rises with utilization; the credit is a share of the month's bill.

Source: Beyer et al. (2016), chapter 4, for the terms; Amazon Web Services (2022) for credits;
Google Cloud Monitoring for request-based and windows-based indicators.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from snippets import checks
from snippets.definitions.utilization import max_utilization, response_quantile


def _require(condition: bool | np.bool_, argument: str, rule: str, value: object) -> None:
    """Raise ValueError with the argument, the rule and the value unless the condition holds."""
    if not condition:
        raise ValueError(f"{argument} must be {rule}, got {value}")


def load_cap(quantile: Callable[[float], float], objective_s: float) -> float:
    """Highest utilization at which a response quantile stays within the objective, by bisection.

    quantile: maps ρ in [0, 1) to the quantile [s], non-decreasing. objective_s: t [s], at least
    quantile(0). Raises ValueError when the objective is missed even idle, or is not finite.

    >>> round(load_cap(lambda rho: 2.0 / (1 - rho), objective_s=8.0), 12)
    0.75
    """
    _require(
        quantile(0.0) <= objective_s < math.inf,
        "objective_s",
        "finite and at least the quantile of an idle server",
        objective_s,
    )
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if quantile(middle) <= objective_s:
            low = middle
        else:
            high = middle
    return low


def expected_credit(below: npt.ArrayLike, credits: npt.ArrayLike) -> float:
    """Expected share of the bill paid back, Σ c_i·(P(A < s_i) − P(A < s_{i+1})).

    below: P(A < s_i) for falling floors s_1 > s_2 > …, shape (n,), non-increasing.
    credits: c_i in [0, 1], shape (n,), non-decreasing. Raises ValueError outside these rules.

    >>> round(expected_credit(below=[0.1, 0.02], credits=[0.1, 0.5]), 12)  # .08·.1 + .02·.5
    0.018
    """
    under, paid = np.asarray(below, dtype=float), np.asarray(credits, dtype=float)
    _require(under.ndim == 1 and under.size > 0, "below", "a non-empty list", below)
    _require(paid.shape == under.shape, "credits", f"of shape {under.shape}", credits)
    _require(
        np.all((under >= 0) & (under <= 1)) and np.all(np.diff(under) <= 0),
        "below",
        "non-increasing probabilities",
        below,
    )
    _require(
        np.all((paid >= 0) & (paid <= 1)) and np.all(np.diff(paid) >= 0),
        "credits",
        "non-decreasing shares of the bill",
        credits,
    )
    return float((-np.diff(np.append(under, 0.0)) * paid).sum())


def request_attainment(good: npt.ArrayLike, total: npt.ArrayLike) -> float:
    """Share of good requests over all windows together.

    good, total: requests per window, shape (n,), 0 ≤ good ≤ total, with some traffic.
    Raises ValueError otherwise.

    >>> request_attainment(good=[90, 10], total=[100, 100])
    0.5
    """
    right, every = np.asarray(good, dtype=float), np.asarray(total, dtype=float)
    _require(right.ndim == 1 and right.shape == every.shape, "good", "as long as total", good)
    _require(np.all((every >= 0) & (every < math.inf)), "total", "non-negative and finite", total)
    _require(np.all((right >= 0) & (right <= every)), "good", "between 0 and total", good)
    _require(every.sum() > 0, "total", "positive in some window", total)
    return float(right.sum() / every.sum())


def window_attainment(good: npt.ArrayLike, total: npt.ArrayLike, threshold: float) -> float:
    """Share of windows whose own good share is at least the threshold; empty windows are good.

    good, total: requests per window, shape (n,), 0 ≤ good ≤ total. threshold: in (0, 1].
    Raises ValueError otherwise.

    >>> window_attainment(good=[90, 10], total=[100, 100], threshold=0.9)
    0.5
    """
    right, every = np.asarray(good, dtype=float), np.asarray(total, dtype=float)
    _require(right.ndim == 1 and right.size > 0, "good", "a non-empty list", good)
    _require(every.shape == right.shape, "total", f"of shape {right.shape}", total)
    _require(np.all((every >= 0) & (every < math.inf)), "total", "non-negative and finite", total)
    _require(np.all((right >= 0) & (right <= every)), "good", "between 0 and total", good)
    _require(0 < threshold <= 1, "threshold", "in (0, 1]", threshold)
    return float(np.mean(right >= threshold * every))


@dataclass(frozen=True)
class Example:
    """Worked numbers of the objectives."""

    cap_p99_10: float
    cap_p95_10: float
    quiet_by_requests: float
    quiet_by_windows: float
    peak_by_requests: float


def example() -> Example:
    """The numbers quoted in the text."""
    total = np.array([100.0] * 9 + [1100.0])
    quiet, peak = total.copy(), total.copy()
    quiet[0], peak[-1] = 0, 0
    return Example(
        cap_p99_10=load_cap(lambda rho: response_quantile(0.99, rho, 1.0), 10.0),
        cap_p95_10=load_cap(lambda rho: response_quantile(0.95, rho, 1.0), 10.0),
        quiet_by_requests=request_attainment(quiet, total),
        quiet_by_windows=window_attainment(quiet, total, 0.99),
        peak_by_requests=request_attainment(peak, total),
    )


def figure_load_cap() -> Figure:
    """A tighter latency objective costs load, and below the idle quantile no load is low enough.

    Alt: Line chart of the highest utilization against the latency objective in service times, for
    the 95th and the 99th percentile. Both start at zero at 3 and 4.6 and rise with falling slope.
    """
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    for q, colour, offset in ((0.95, "C0", (0, 8)), (0.99, "C3", (0, -16))):
        objective = np.linspace(-math.log1p(-q) * 1.001, 40, 150)
        cap = [
            load_cap(partial(response_quantile, q, mean_service_s=1.0), t)
            for t in objective.tolist()
        ]
        axes.plot(objective, cap, color=colour)
        axes.annotate(
            f"p{100 * q:.0f}",
            (objective[80], cap[80]),
            xytext=offset,
            textcoords="offset points",
            color=colour,
        )
    axes.set(
        xlim=(0, 40),
        ylim=(0, 1),
        xlabel="latency objective [service times]",
        ylabel="highest utilization ρ",
    )
    return figure


def check_load_cap_of_one_server() -> None:
    """Bisection finds the closed form: 99% within ten service times allow ρ = 0.539483.

    Source: 1 − ln(100)/10 by hand, and the closed form of the utilization chapter.
    """
    cap = load_cap(lambda rho: response_quantile(0.99, rho, 1.0), 10.0)
    checks.close("p99 ≤ 10 S", cap, 0.5394830, atol=5e-8)
    for q, t in ((0.9, 4.0), (0.95, 10.0), (0.999, 50.0)):
        got = load_cap(partial(response_quantile, q, mean_service_s=1.0), t)
        checks.close(f"q = {q}, t = {t:g} S", got, max_utilization(q, t), rtol=1e-12)


def check_credit_against_paying_out() -> None:
    """The tiers' expectation is the mean of what a month-by-month ledger pays.

    Source: 1,000 equally likely attainments, each paid by looking up its own tier.
    """
    attainment = (np.arange(1000) + 0.5) / 1000
    floors, credits = (0.9, 0.5, 0.2), (0.1, 0.25, 1.0)
    paid = [
        max([c for s, c in zip(floors, credits, strict=True) if a < s] or [0.0])
        for a in attainment.tolist()
    ]
    got = expected_credit([float(np.mean(attainment < s)) for s in floors], credits)
    checks.close("mean credit", got, float(np.mean(paid)), rtol=1e-12)


def check_two_indicators_disagree() -> None:
    """One bad window of ten is 10% by windows, and 5% or 55% by requests.

    Source: counted by hand: 100 or 1,100 of 2,000 requests fail.
    """
    numbers = example()
    checks.close("quiet window, by requests", numbers.quiet_by_requests, 0.95, rtol=1e-12)
    checks.close("quiet window, by windows", numbers.quiet_by_windows, 0.9, rtol=1e-12)
    checks.close("peak window, by requests", numbers.peak_by_requests, 0.45, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Unreachable objectives, tiers out of order and impossible counts are errors."""
    checks.raises("idle misses", load_cap, lambda rho: 2 + rho, 1.0, match="objective_s must be")
    checks.raises("rising", expected_credit, [0.1, 0.2], [0.1, 0.2], match="below must be")
    checks.raises("more good than all", request_attainment, [2], [1], match="good must be")
    checks.raises("threshold", window_attainment, [1], [1], 0.0, match="threshold must be")
