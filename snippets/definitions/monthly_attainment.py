"""A month's attainment is random, so the mean must beat the promise by a margin.

Outages start as a Poisson process of rate ν and last exponentially with mean m. In a period T the
downtime D is a compound Poisson sum: P(D > x) = Σ_n P(N = n)·P(K < n) with N ~ Poisson(νT) and
K ~ Poisson(x/m), because n exponential lengths exceed x when fewer than n of them end by x.

Assumes: independent outages that do not overlap, each charged to the month in which it starts;
constant traffic, so that time down is requests failed.

Source: the definition of the Poisson process; Amazon Web Services (2022) for the tiers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from snippets import checks
from snippets.definitions.queue_simulator import MeanEstimate
from snippets.definitions.slo_sla import expected_credit

MINUTE, DAY = 60.0, 86400.0  # s
MONTH = 30 * DAY  # s
OUTAGE = 10 * MINUTE  # s; mean length in the examples
FLOORS = (0.999, 0.99, 0.95)  # attainment below which credits are due: AWS (2022)
CREDITS = (0.10, 0.25, 1.00)  # share of the bill: AWS (2022)


def _require(condition: bool | np.bool_, argument: str, rule: str, value: object) -> None:
    """Raise ValueError with the argument, the rule and the value unless the condition holds."""
    if not condition:
        raise ValueError(f"{argument} must be {rule}, got {value}")


def downtime_exceeds(allowed_s: float, mean_outages: float, mean_outage_s: float) -> float:
    """P(D > x), exact, for a Poisson number of exponential outages.

    allowed_s: x ≥ 0 [s]. mean_outages: νT in the period, in [0, 600]. mean_outage_s: m > 0 [s].
    Raises ValueError outside these ranges.

    >>> round(downtime_exceeds(0.0, mean_outages=1.0, mean_outage_s=60.0), 9)  # 1 − 1/e
    0.632120559
    """
    _require(0 <= allowed_s < math.inf, "allowed_s", "non-negative and finite", allowed_s)
    _require(0 <= mean_outages <= 600, "mean_outages", "in [0, 600]", mean_outages)
    _require(0 < mean_outage_s < math.inf, "mean_outage_s", "positive and finite", mean_outage_s)
    ended = allowed_s / mean_outage_s
    terms = int(mean_outages + 12 * math.sqrt(mean_outages)) + 40
    n = np.arange(1, terms)
    logs = np.append(0.0, np.cumsum(np.log(n)))  # ln n!
    k = np.arange(terms)
    few = np.exp(k * math.log(ended) - ended - logs) if ended else (k == 0).astype(float)
    some = (
        np.exp(k * math.log(mean_outages) - mean_outages - logs)
        if mean_outages
        else (k == 0).astype(float)
    )
    return float((some[1:] * np.cumsum(few)[:-1]).sum())


def downtime_exceeds_normal(allowed_s: float, mean_outages: float, mean_outage_s: float) -> float:
    """The normal approximation of P(D > x), with mean νTm and variance 2νTm².

    allowed_s: x ≥ 0 [s]. mean_outages: νT > 0. mean_outage_s: m > 0 [s].
    Raises ValueError outside these ranges.

    >>> downtime_exceeds_normal(120.0, mean_outages=2.0, mean_outage_s=60.0)
    0.5
    """
    _require(0 <= allowed_s < math.inf, "allowed_s", "non-negative and finite", allowed_s)
    _require(0 < mean_outages < math.inf, "mean_outages", "positive and finite", mean_outages)
    _require(0 < mean_outage_s < math.inf, "mean_outage_s", "positive and finite", mean_outage_s)
    deviation = mean_outage_s * math.sqrt(2 * mean_outages)
    return math.erfc((allowed_s - mean_outages * mean_outage_s) / deviation / math.sqrt(2)) / 2


def simulated_downtime(
    rng: np.random.Generator, months: int, mean_outages: float, mean_outage_s: float
) -> npt.NDArray[np.float64]:
    """Downtime of independent months [s], shape (months,), outage by outage.

    months: how many. mean_outages: νT ≥ 0. mean_outage_s: m > 0 [s].
    Raises ValueError outside these ranges.

    >>> simulated_downtime(np.random.default_rng(1), 2, mean_outages=0.0, mean_outage_s=60.0)
    array([0., 0.])
    """
    _require(float(months).is_integer() and months >= 1, "months", "a positive integer", months)
    _require(0 <= mean_outages < math.inf, "mean_outages", "non-negative and finite", mean_outages)
    _require(0 < mean_outage_s < math.inf, "mean_outage_s", "positive and finite", mean_outage_s)
    counts = rng.poisson(mean_outages, months)
    month = np.repeat(np.arange(months), counts)
    total = np.bincount(month, rng.exponential(mean_outage_s, month.size), months)
    return np.asarray(total, dtype=np.float64)


def internal_target(sla: float, breach: float, mean_outage_s: float, period_s: float) -> float:
    """Lowest mean attainment at which a month misses the agreement with at most this probability.

    sla: s in (0, 1). breach: p in (0, 1). mean_outage_s: m > 0 [s]. period_s: T [s], at most 600
    mean outages long when multiplied by 1 − s. Raises ValueError outside these ranges.

    >>> target = internal_target(0.999, 0.05, mean_outage_s=600.0, period_s=2_592_000.0)
    >>> round(downtime_exceeds(2592.0, (1 - target) * 2_592_000 / 600, 600.0), 9)
    0.05
    """
    _require(0 < sla < 1, "sla", "in (0, 1)", sla)
    _require(0 < breach < 1, "breach", "in (0, 1)", breach)
    _require(0 < mean_outage_s < math.inf, "mean_outage_s", "positive and finite", mean_outage_s)
    _require(0 < period_s < math.inf, "period_s", "positive and finite", period_s)
    allowed = (1 - sla) * period_s
    low, high = 0.0, 600.0
    _require(
        downtime_exceeds(allowed, high, mean_outage_s) > breach,
        "period_s·(1 − sla)",
        "short enough for fewer than 600 outages",
        allowed,
    )
    for _ in range(60):
        middle = (low + high) / 2
        if downtime_exceeds(allowed, middle, mean_outage_s) <= breach:
            low = middle
        else:
            high = middle
    return 1 - low * mean_outage_s / period_s


@dataclass(frozen=True)
class Example:
    """Worked numbers of the month."""

    breach_at_sla: float
    normal_at_sla: float
    target_5: float
    target_1: float
    minutes_30: float
    minutes_31: float
    breach_28: float
    breach_31: float
    mean_credit: float


def example() -> Example:
    """The numbers quoted in the text."""
    per_day = 0.001 * DAY / OUTAGE
    allowed = 0.001 * MONTH
    below = [downtime_exceeds((1 - s) * MONTH, 30 * per_day, OUTAGE) for s in FLOORS]
    return Example(
        breach_at_sla=downtime_exceeds(allowed, 30 * per_day, OUTAGE),
        normal_at_sla=downtime_exceeds_normal(allowed, 30 * per_day, OUTAGE),
        target_5=internal_target(0.999, 0.05, OUTAGE, MONTH),
        target_1=internal_target(0.999, 0.01, OUTAGE, MONTH),
        minutes_30=0.001 * MONTH / MINUTE,
        minutes_31=0.001 * 31 * DAY / MINUTE,
        breach_28=downtime_exceeds(0.001 * 28 * DAY, 0.5 * 28 * per_day, OUTAGE),
        breach_31=downtime_exceeds(0.001 * 31 * DAY, 0.5 * 31 * per_day, OUTAGE),
        mean_credit=expected_credit(below, CREDITS),
    )


def figure_margin() -> Figure:
    """A service that is on average as good as promised breaks the promise in many months.

    Alt: Line chart of the probability of missing 99.9 percent in a month against mean attainment,
    on a logarithmic axis, for outages of 2, 10 and 40 minutes. All fall towards full attainment;
    the longer the outages, the more slowly.
    """
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    down = np.linspace(2e-5, 1.2e-3, 120)
    for minutes, colour, x, y, side in (
        (40, "C3", 99.965, 0.3, "left"),
        (10, "C0", 99.966, 0.014, "left"),
        (2, "C2", 99.950, 0.006, "right"),
    ):
        length = minutes * MINUTE
        risk = [downtime_exceeds(0.001 * MONTH, d * MONTH / length, length) for d in down.tolist()]
        axes.semilogy(100 * (1 - down), risk, color=colour)
        text = f"{minutes} min" + " outages" * (minutes == 2)
        axes.annotate(text, (x, y), ha=side, color=colour)
    axes.axvline(99.9, color="C4", linestyle=":")
    axes.set(
        ylim=(1e-4, 1),
        xlabel="mean attainment [%]",
        ylabel="probability of missing 99.9%",
    )
    return figure


def figure_month() -> Figure:
    """At a mean of exactly 99.9% the month is a wide lottery; points are 20,000 simulated months.

    Alt: Falling curve of the probability that a month has more downtime than a given number of
    minutes, from 0.99 at zero to almost nothing at 130. Simulated points lie on it. A dotted line
    marks the 43.2 minutes that 99.9 percent allow.
    """
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    minutes = np.linspace(0, 140, 100)
    mean = 0.001 * MONTH / OUTAGE
    axes.plot(minutes, [downtime_exceeds(x * MINUTE, mean, OUTAGE) for x in minutes.tolist()])
    months = simulated_downtime(np.random.default_rng(3), 20_000, mean, OUTAGE) / MINUTE
    points = np.arange(5, 140, 15)
    axes.plot(points, [np.mean(months > x) for x in points], "o", color="C1")
    axes.axvline(43.2, color="C4", linestyle=":")
    axes.annotate("99.9% in 30 days", (46, 0.9), color="C4")
    axes.set(
        ylim=(0, 1),
        xlabel="downtime in the month [min]",
        ylabel="probability of more",
    )
    return figure


def check_month_against_simulation() -> None:
    """The exact distribution is that of 40,000 simulated months, at every tier and month length.

    Source: Monte Carlo, outage by outage; binomial standard errors.
    """
    rng = np.random.default_rng(10)
    for days in (28, 30, 31):
        mean = 0.001 * days * DAY / OUTAGE
        months = simulated_downtime(rng, 40_000, mean, OUTAGE)
        for s in (0.9999, 0.999, 0.9975):
            allowed = (1 - s) * days * DAY
            share = float(np.mean(months > allowed))
            error = math.sqrt(share * (1 - share) / 40_000)
            checks.covers(
                f"{days} days, below {s:.2%}",
                MeanEstimate(share, error, 0),
                downtime_exceeds(allowed, mean, OUTAGE),
            )


def check_normal_approximation_converges() -> None:
    """With 500 outages a month the normal approximation is good, with four it misses the tail.

    Source: the central limit theorem.
    """
    for sigmas in (0.0, 1.0, 2.0):
        x = 500 + sigmas * math.sqrt(1000)
        checks.close(
            f"{sigmas:g} σ",
            downtime_exceeds(x, 500.0, 1.0),
            downtime_exceeds_normal(x, 500.0, 1.0),
            atol=0.012,
        )
    ratio = downtime_exceeds(4 + 3 * math.sqrt(8), 4.0, 1.0) / downtime_exceeds_normal(
        4 + 3 * math.sqrt(8), 4.0, 1.0
    )
    checks.holds("four outages, 3 σ: tail more than five times", ratio > 5, got=ratio)


def check_calendar_month() -> None:
    """99.9% allow 43.2 minutes in 30 days, and from 40.32 to 44.64 in calendar months.

    Source: 0.001 × 1,440 minutes × days, by hand.
    """
    checks.close("30 days", example().minutes_30, 43.2, rtol=1e-12)
    checks.close("31 days", example().minutes_31, 44.64, rtol=1e-12)
    for days in (28, 30, 31):
        target = internal_target(0.999, 0.05, OUTAGE, days * DAY)
        mean = (1 - target) * days * DAY / OUTAGE
        months = simulated_downtime(np.random.default_rng(days), 40_000, mean, OUTAGE)
        share = float(np.mean(months > 0.001 * days * DAY))
        error = math.sqrt(0.05 * 0.95 / 40_000)
        checks.covers(f"breach at the target, {days} days", MeanEstimate(share, error, 0), 0.05)


def check_bad_input_is_refused() -> None:
    """Negative allowances, endless months and certain breaches are errors."""
    checks.raises("allowance", downtime_exceeds, -1.0, 1.0, 1.0, match="allowed_s must be")
    checks.raises("NaN", downtime_exceeds_normal, 1.0, math.nan, 1.0, match="mean_outages must be")
    checks.raises("breach", internal_target, 0.99, 1.0, 1.0, 9.0, match="breach must be")
