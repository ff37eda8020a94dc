"""Solutions: the longest outage a promise survives, the promise to make, and a year of months.

Source: the chapter's model; binomial months for the year.
"""

from __future__ import annotations

import math

import numpy as np

from snippets import checks
from snippets.definitions.monthly_attainment import downtime_exceeds, simulated_downtime
from snippets.definitions.queue_simulator import MeanEstimate


def _require(condition: bool | np.bool_, argument: str, rule: str, value: object) -> None:
    """Raise ValueError with the argument, the rule and the value unless the condition holds."""
    if not condition:
        raise ValueError(f"{argument} must be {rule}, got {value}")


def longest_outage(sla: float, days: int, failing_share: float) -> float:
    """Longest single outage that a month's promise survives [s].

    sla: s in (0, 1). days: 28 to 31. failing_share: share of requests failing in it, in (0, 1].
    Raises ValueError outside these ranges.

    >>> round(longest_outage(0.999, days=30, failing_share=0.5), 9)
    5184.0
    """
    _require(0 < sla < 1, "sla", "in (0, 1)", sla)
    _require(days in (28, 29, 30, 31), "days", "28 to 31", days)
    _require(0 < failing_share <= 1, "failing_share", "in (0, 1]", failing_share)
    return (1 - sla) * days * 86_400 / failing_share


def year_without_breach(monthly_breach: float, months: int = 12) -> float:
    """Probability that no month of a run misses the promise.

    monthly_breach: p in [0, 1]. months: how many. Raises ValueError outside these ranges.

    >>> year_without_breach(0.5, months=2)
    0.25
    """
    _require(0 <= monthly_breach <= 1, "monthly_breach", "in [0, 1]", monthly_breach)
    _require(float(months).is_integer() and months >= 1, "months", "a positive integer", months)
    return float((1 - monthly_breach) ** months)


def promise_to_make(
    mean_outages: float, mean_outage_s: float, period_s: float, breach: float
) -> float:
    """Highest attainment that a month misses with at most this probability.

    mean_outages: in the period. mean_outage_s: m [s]. period_s: T [s]. breach: p in (0, 1).
    Found by bisection over the allowed downtime. Raises ValueError outside these ranges.

    >>> promise_to_make(0.01, mean_outage_s=60.0, period_s=86_400.0, breach=0.5)
    1.0
    """
    _require(0 < period_s < math.inf, "period_s", "positive and finite", period_s)
    _require(0 < breach < 1, "breach", "in (0, 1)", breach)
    if downtime_exceeds(0.0, mean_outages, mean_outage_s) <= breach:
        return 1.0
    low, high = 0.0, period_s
    for _ in range(60):
        middle = (low + high) / 2
        if downtime_exceeds(middle, mean_outages, mean_outage_s) <= breach:
            high = middle
        else:
            low = middle
    return 1 - high / period_s


def check_longest_outage() -> None:
    """A full outage of 40 minutes fits every month at 99.9%, one of 41 not the shortest.

    Source: 28 days are 40,320 minutes; a thousandth is 40.32.
    """
    checks.close("February [min]", longest_outage(0.999, 28, 1.0) / 60, 40.32, rtol=1e-12)


def check_year_against_simulation() -> None:
    """The share of simulated years without a breach is that of independent months.

    Source: 5,000 simulated years of 12 months; binomial standard error.
    """
    breach = downtime_exceeds(3000.0, 2.0, 600.0)
    months = simulated_downtime(np.random.default_rng(6), 60_000, 2.0, 600.0).reshape(-1, 12)
    share = float(np.mean(np.all(months <= 3000.0, axis=1)))
    error = math.sqrt(share * (1 - share) / 5000)
    checks.covers("clean years", MeanEstimate(share, error, 0), year_without_breach(breach))


def check_promise() -> None:
    """The promise is missed by the chosen share of simulated months.

    Source: 40,000 simulated months; binomial standard error.
    """
    promise = promise_to_make(5.0, 300.0, 2_592_000.0, 0.02)
    months = simulated_downtime(np.random.default_rng(7), 40_000, 5.0, 300.0)
    share = float(np.mean(months > (1 - promise) * 2_592_000))
    error = math.sqrt(0.02 * 0.98 / 40_000)
    checks.covers("missed months", MeanEstimate(share, error, 0), 0.02)


def check_bad_input_is_refused() -> None:
    """Months of 27 days and certain breaches are errors."""
    checks.raises("27 days", longest_outage, 0.9, 27, 1.0, match="days must be")
    checks.raises("p = 2", year_without_breach, 2.0, match="monthly_breach must be")
    checks.raises("p = 0", promise_to_make, 1.0, 1.0, 1.0, 0.0, match="breach must be")
