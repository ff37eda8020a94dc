"""Retries turn a short overload into one that lasts: above a base load of μ/(1+R) the collapse
feeds itself.

A request that fails with probability p and is tried up to R more times makes 1 + p + … + p^R
attempts. At a server with an unlimited first-come-first-served queue p = e^{−(μ−λ)τ} of the
attempts are late, so the offered rate solves λ = λ₀(1 + p(λ) + … + p(λ)^R). Between the base rates
μ/(1+R) and a fold this has three solutions, two of them stable: a healthy one and a collapsed one
at λ₀(1+R) (metastable failure). A retry budget or a short queue removes the second.

Assumes: the failures of one request's attempts are independent and follow the steady state at the
total rate; chance is left out, and the simulation in `outage_recovery` puts it back.

Source: Bronson et al. (2021) for the metastable state and its trigger, Huang et al. (2022) for its
incidents; late answers as in the goodput of M/M/1.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from serving_mathematics.capacity.overload_control.overload_control import (
    bounded_goodput,
    fifo_goodput,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_non_negative_integer,
    require_positive,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SERVICE_RATE = 100.0  # μ of the worked numbers [1/s]
DEADLINE_S = 0.1  # τ of the worked numbers [s]
RETRIES = 3  # R of the worked numbers: four attempts in all
PLACES = 6  # queue limit of the worked numbers, the request in service included
BUDGET = 0.1  # retries per first attempt; 10% in the SRE book, chapter 21


def late_probability(arrival_rate: float, service_rate: float, deadline_s: float) -> float:
    """Share of the answers that come after the deadline from an unlimited first-come-first-served
    queue.

    arrival_rate: λ [1/s]; from μ on all are late. service_rate: μ [1/s]. deadline_s: τ [s]. Raises
    ValueError unless all are positive and finite.

    >>> round(late_probability(arrival_rate=90.0, service_rate=100.0, deadline_s=0.1), 6)
    0.367879
    """
    arrival_rate, service_rate, deadline_s = require_positive(
        arrival_rate=arrival_rate, service_rate=service_rate, deadline_s=deadline_s
    )
    return math.exp(-max(0.0, service_rate - arrival_rate) * deadline_s)


def retry_amplification(failure: float, retries: int, budget: float = math.inf) -> float:
    """Attempts per request: 1 + p + … + p^R, but not more than a retry budget allows.

    failure: p in [0, 1], the same for each attempt. retries: R ≥ 0. budget: retries per first
    attempt, no limit by default. Raises ValueError outside these ranges.

    >>> retry_amplification(failure=0.5, retries=2), retry_amplification(1.0, 3, budget=0.1)
    (1.75, 1.1)
    """
    budget = as_number(budget=budget)
    failure = require_in("[0, 1]", failure=failure)
    retries = require_non_negative_integer(retries=retries)
    retries = require_in("[0, 1e4]", retries=retries)
    require(budget >= 0, "budget", "non-negative", budget)
    return min(1 + budget, sum(failure**attempt for attempt in range(int(retries) + 1)))


@dataclass(frozen=True)
class FixedPoint:
    """An offered rate [1/s] that reproduces itself, and whether a small push dies out."""

    rate: float
    stable: bool


def fixed_points(
    base_rate: float,
    failure: Callable[[float], float],
    retries: int,
    budget: float = math.inf,
) -> list[FixedPoint]:
    """Offered rates that reproduce themselves when failed attempts are tried again, smallest
    first.

    base_rate: λ₀ of first attempts [1/s]. failure: p as a function of the total offered rate
    [1/s], not falling. retries, budget: as for `retry_amplification`. Solutions are sought between
    λ₀ and λ₀(1+R) on 2,000 intervals and refined by bisection; a rate is stable where the
    generated load crosses the offered one from above. Raises ValueError on a base rate that is not
    positive and finite, and as `retry_amplification` does.

    >>> [(round(p.rate, 6), p.stable) for p in fixed_points(10.0, lambda rate: 0.5, retries=1)]
    [(15.0, True)]
    """
    base_rate = require_positive(base_rate=base_rate)
    retries = require_non_negative_integer(retries=retries)

    def surplus(rate: float) -> float:
        return base_rate * retry_amplification(failure(rate), retries, budget) - rate

    points = []
    grid = np.linspace(0.999 * base_rate, 1.001 * base_rate * (1 + retries), 2001).tolist()
    signs = [surplus(rate) > 0 for rate in grid]
    for low, high, above, below in zip(grid, grid[1:], signs, signs[1:], strict=False):
        if above != below:
            for _ in range(60):
                middle = (low + high) / 2
                low, high = (middle, high) if (surplus(middle) > 0) == above else (low, middle)
            points.append(FixedPoint(high, above))
    return points


def metastable_band(
    failure: Callable[[float], float], retries: int, max_rate: float
) -> tuple[float, float] | None:
    """Base rates [1/s] between which a healthy and a collapsed state are both possible; None if
    there are none.

    A total rate x is reproduced by the base rate b(x) = x/(1 + p + … + p^R). Where b falls, two
    states share a base rate: the band reaches from the valley of b to the peak (fold) before it.
    failure, retries: as for `fixed_points`. max_rate: total rate up to which to look [1/s]. Raises
    ValueError on a max_rate that is not positive and finite.

    >>> band = metastable_band(lambda rate: min(1.0, rate / 50), retries=1, max_rate=200.0)
    >>> band is None  # 50x/(50 + x) rises up to x = 50, and x/2 after it
    True
    """
    max_rate = require_positive(max_rate=max_rate)
    step = max_rate / 4000

    def base(rate: float) -> float:
        return rate / retry_amplification(failure(rate), retries)

    rates = step * np.arange(1, 4001)
    bases = np.array([base(rate) for rate in rates.tolist()])
    falling = np.flatnonzero(np.diff(bases) < 0)
    if falling.size == 0:
        return None
    peak = int(falling[0])
    valley = peak + int(np.argmin(bases[peak:]))
    edges = []
    for index, sign in ((valley, 1.0), (peak, -1.0)):
        low, high = float(rates[index]) - step, float(rates[index]) + step
        for _ in range(80):
            third = (high - low) / 3
            if sign * base(low + third) <= sign * base(high - third):
                high -= third
            else:
                low += third
        edges.append(base((low + high) / 2))
    return edges[0], edges[1]


def _late(rate: float) -> float:
    return late_probability(rate, SERVICE_RATE, DEADLINE_S)


@functools.cache
def _failed_with_limit(rate: float) -> float:
    return 1 - bounded_goodput(rate, SERVICE_RATE, DEADLINE_S, PLACES) / rate


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    healthy, tipping, collapsed = fixed_points(60.0, _late, RETRIES)
    band = metastable_band(_late, RETRIES, 2 * SERVICE_RATE) or (math.nan, math.nan)
    (bounded,) = fixed_points(60.0, _failed_with_limit, RETRIES)
    return SimpleNamespace(
        healthy_rate=healthy.rate,
        tipping_rate=tipping.rate,
        collapsed_rate=collapsed.rate,
        band_low=band[0],
        band_high=band[1],
        budget_band_low=SERVICE_RATE / (1 + BUDGET),
        bounded_rate=bounded.rate,
    )


def figure_retry_map(figure: Figure) -> None:
    """Three retries give the same 60 requests a second two stable loads; a budget or a short queue
    leaves one.

    Each curve is the load that an offered load generates; where it crosses the diagonal the load
    reproduces itself. Filled points are stable, the open one is the edge: beyond it the load grows
    to four times the base rate by itself.

    Alt: Generated load against offered load, both from 40 to 260 per second, with the diagonal.
    With three retries the curve crosses the diagonal at 61, at 89 and at 240. With a budget of ten
    percent it levels off at 66 and crosses once, at 61. With a queue of six places it rises slowly
    and crosses once, at 61 too.
    """
    axes = figure.subplots()
    load = np.linspace(40.0, 260.0, 200)
    axes.plot(load, load, color="C4", linestyle=":", linewidth=1.2)
    for failure, budget, colour in (
        (_late, math.inf, "C3"),
        (_late, BUDGET, "C2"),
        (_failed_with_limit, math.inf, "C0"),
    ):
        generated = [60.0 * retry_amplification(failure(x), RETRIES, budget) for x in load]
        axes.plot(load, generated, color=colour)
        for point in fixed_points(60.0, failure, RETRIES, budget):
            inside = colour if point.stable else "none"
            axes.plot(point.rate, point.rate, "o", color=colour, markerfacecolor=inside, zorder=3)
    for text, x, y, colour in (
        ("3 retries", 112, 222, "C3"),
        ("3 retries, 6 places", 176, 92, "C0"),
        ("budget 10%", 190, 50, "C2"),
    ):
        axes.annotate(text, (x, y), color=colour)
    axes.set(xlim=(40, 260), ylim=(40, 260))
    axes.set(xlabel="offered load [1/s]", ylabel="load it generates [1/s]")


def check_fixed_points() -> None:
    """Sixty requests a second with up to three retries load the server with 61, or with 240; 89 is
    the edge between.

    Source: what arrives is answered or given up after four failures, λ₀(1 − p⁴) = goodput;
    iteration of the map from both sides of the edge.
    """
    points = fixed_points(60.0, _late, 3)
    rates = [point.rate for point in points]
    checks.close("rates [1/s]", rates, [61.274876, 89.055348, 240.0], atol=5e-7)
    checks.equal("stable", [point.stable for point in points], [True, False, True])
    for rate in rates[:2]:
        served = fifo_goodput(rate, 100.0, 0.1)
        checks.close(f"λ₀(1 − p⁴) at {rate:.2f}", 60.0 * (1 - _late(rate) ** 4), served, rtol=1e-9)
    for start, end in ((88.9, rates[0]), (89.2, rates[2])):
        rate = start
        for _ in range(200):
            rate = 60.0 * sum(_late(rate) ** k for k in range(4))
        checks.close(f"iterated from {start}", rate, end, rtol=1e-9)


def check_metastable_band() -> None:
    """Between 25 and 69.4 requests a second the same demand can be healthy or collapsed.

    Source: μ/(1 + R) by hand for the lower end; at the upper one the map touches the diagonal,
    λ₀·τ·p(1 + 2p + 3p²) = 1, and the number of fixed points changes from three to one.
    """
    band = metastable_band(_late, 3, 200.0)
    low, high = band if band is not None else (math.nan, math.nan)
    checks.close("lower end [1/s]", low, 25.0, rtol=1e-9)
    healthy, edge, _ = fixed_points(high * (1 - 1e-6), _late, 3)
    p = _late((healthy.rate + edge.rate) / 2)
    checks.close("slope at the fold", high * 0.1 * p * (1 + 2 * p + 3 * p * p), 1.0, atol=1e-4)
    for rate, count in ((24.9, 1), (25.1, 3), (high * 0.999, 3), (high * 1.001, 1)):
        checks.equal(f"fixed points at {rate:.2f}", len(fixed_points(rate, _late, 3)), count)


def check_remedies() -> None:
    """A retry budget of 10% or a queue of six places leaves one load, the healthy one.

    Source: SRE book, chapter 21: three attempts load up to three times, a 10% budget 1.1 times;
    scan of the map.
    """
    checks.close("3 attempts, all fail", retry_amplification(1.0, 2), 3.0, kind="published")
    checks.close("10% budget, all fail", retry_amplification(1.0, 2, 0.1), 1.1, kind="published")
    budget = fixed_points(60.0, _late, 3, BUDGET)
    checks.close("loads with a budget", [point.rate for point in budget], [61.274876], atol=5e-7)
    checks.equal("loads with six places", len(fixed_points(60.0, _failed_with_limit, 3)), 1)
    checks.equal("band with six places", metastable_band(_failed_with_limit, 3, 400.0), None)
    checks.equal("loads at 95/s, budget", len(fixed_points(95.0, _late, 3, BUDGET)), 1)


def check_bad_input_is_refused() -> None:
    """Probabilities above 1, fractional retries and reversed outages are errors that name the
    argument."""
    checks.raises("p = 1.2", retry_amplification, 1.2, 3, match="failure must be in [0, 1]")
    checks.raises("1.5 retries", retry_amplification, 0.5, 1.5, match="retries must be")
    checks.raises("NaN rate", late_probability, math.nan, 1.0, 1.0, match="arrival_rate must be")
    checks.raises("λ₀ = 0", fixed_points, 0.0, _late, 3, match="base_rate must be positive")
    checks.raises("max_rate = ∞", metastable_band, _late, 3, math.inf, match="max_rate must be")
