"""Solutions: the longest outage, what nobody is paged for, the promise to make, parts in series.

Source: the chapter's model of a month and of its alerts; failure budgets for parts in series.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.definitions.slo_sla.monthly_attainment import (
    downtime_exceeds,
    simulated_downtime,
)
from serving_mathematics.definitions.slo_sla.outage_dependence import down_together
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_positive,
    require_positive_integer,
)

HINTS = {
    "longest_outage": (
        "The promise allows a share of the month to fail; an outage that fails only part of the"
        " requests spends it more slowly. Use the days of the month at hand, not 30."
    ),
    "unnoticed": (
        "An incident raises the window's burn rate linearly, so it has to last a certain part "
        "of the window to be seen; a faster burn, a shorter part. For the budget weigh "
        "incidents by length, since long ones spend more."
    ),
    "promise_to_make": (
        "The probability of more downtime than x falls with x: bisect for the x at which it "
        "equals the breach you accept. Look first at whether no downtime at all is likely "
        "enough."
    ),
    "series_downtime_exceeds": (
        "Only the number of outages changes: common ones count once, the others once for each "
        "part. Pass the new mean number on to `downtime_exceeds`."
    ),
}


def longest_outage(sla: float, days: int, failing_share: float) -> float:
    """Longest single outage that a month's promise survives [s].

    sla: s in (0, 1). days: 28 to 31. failing_share: share of requests failing in it, in (0, 1].
    Raises ValueError outside these ranges.

    >>> round(longest_outage(0.999, days=30, failing_share=0.5), 9)
    5184.0
    """
    days = as_number(days=days)
    sla = require_in("(0, 1)", sla=sla)
    require(days in (28, 29, 30, 31), "days", "28 to 31", days)
    failing_share = require_in("(0, 1]", failing_share=failing_share)
    return (1 - sla) * days * 86_400 / failing_share


def unnoticed(
    burn: float, mean_outage_s: float, long_s: float, threshold: float
) -> tuple[float, float]:
    """Shares of the incidents, and of the budget they spend, that end before an alert fires.

    burn: b > 0 of each incident. mean_outage_s: m > 0 [s] of their exponential lengths. long_s: w
    [s]. threshold: b* > 0. With t = w·b*/b the incidents shorter than t are 1 − e^{−t/m} of all,
    and their time is 1 − (1 + t/m)·e^{−t/m} of all. Raises ValueError outside these ranges.

    >>> [round(x, 6) for x in unnoticed(20.0, mean_outage_s=600.0, long_s=600.0, threshold=20.0)]
    [1.0, 1.0]
    """
    burn, mean_outage_s, long_s, threshold = require_positive(
        burn=burn, mean_outage_s=mean_outage_s, long_s=long_s, threshold=threshold
    )
    if burn <= threshold:
        return 1.0, 1.0
    ratio = long_s * threshold / burn / mean_outage_s
    return -math.expm1(-ratio), 1 - (1 + ratio) * math.exp(-ratio)


def promise_to_make(
    mean_outages: float, mean_outage_s: float, period_s: float, breach: float
) -> float:
    """Highest attainment that a month misses with at most this probability.

    mean_outages: in the period. mean_outage_s: m [s]. period_s: T [s]. breach: p in (0, 1).
    Found by bisection over the allowed downtime. Raises ValueError outside these ranges.

    >>> promise_to_make(0.01, mean_outage_s=60.0, period_s=86_400.0, breach=0.5)
    1.0
    """
    period_s = require_positive(period_s=period_s)
    breach = require_in("(0, 1)", breach=breach)
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


def series_downtime_exceeds(
    allowed_s: float, parts: int, mean_outages: float, mean_outage_s: float, shared: float
) -> float:
    """P(D > x) of a service that needs all its parts, of whose outages the share β is common.

    allowed_s: x ≥ 0 [s]. parts: n. mean_outages: νT ≥ 0 of each part. mean_outage_s: m [s].
    shared: β in [0, 1]. Common outages count once, so (n·(1−β) + β)·νT remain; their rare overlaps
    are ignored. Raises ValueError outside these ranges.

    >>> round(series_downtime_exceeds(0.0, 5, mean_outages=0.2, mean_outage_s=60.0, shared=0.0), 9)
    0.632120559
    """
    parts = require_positive_integer(parts=parts)
    shared = require_in("[0, 1]", shared=shared)
    count = parts * (1 - shared) * mean_outages + shared * mean_outages
    return downtime_exceeds(allowed_s, count, mean_outage_s)


def _share(values: npt.NDArray[np.float64]) -> MeanEstimate:
    """Mean of independent values with its standard error."""
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    return MeanEstimate(float(values.mean()), error, 1.96 * error)


def check_longest_outage() -> None:
    """A full outage of 40 minutes fits every month at 99.9%, one of 41 not the shortest; when a
    quarter of the requests fail it may last four times as long.

    Source: 28 days are 40,320 minutes; a thousandth is 40.32. 31 days are 44,640, half a thousandth
    22.32.
    """
    checks.close("February [min]", longest_outage(0.999, 28, 1.0) / 60, 40.32, rtol=1e-12)
    quarter = longest_outage(0.9995, 31, 0.25) / 60
    checks.close("January, a quarter fails [min]", quarter, 4 * 22.32, rtol=1e-12)


def check_unnoticed_incidents() -> None:
    """The shares of random incidents, and of their time, that end before the alert.

    Source: 100,000 exponential lengths, sorted into those below and above t; standard errors of
    a proportion and, for the time, of 50 batches.
    """
    lengths = np.random.default_rng(5).exponential(420.0, 100_000)
    short = lengths < 3600.0 * 14.4 / 80
    incidents, spent = unnoticed(80.0, 420.0, 3600.0, 14.4)
    checks.covers("incidents", _share(short.astype(float)), incidents)
    batches = (lengths * short).reshape(50, -1).sum(axis=1) / lengths.reshape(50, -1).sum(axis=1)
    checks.covers("budget", _share(batches), spent)
    never = unnoticed(14.0, 420.0, 3600.0, 14.4)
    checks.equal("a burn below the threshold fires nothing", never, (1.0, 1.0))


def check_promise() -> None:
    """The promise is missed by the chosen share of simulated months.

    Source: 40,000 simulated months; binomial standard error. With one outage in a hundred months on
    average, e^{−0.01} of them have none, which is more than 98%.
    """
    promise = promise_to_make(5.0, 300.0, 2_592_000.0, 0.02)
    months = simulated_downtime(np.random.default_rng(7), 40_000, 5.0, 300.0)
    missed = (months > (1 - promise) * 2_592_000).astype(float)
    checks.covers("missed months", _share(missed), 0.02)
    checks.equal("outages are rarer", promise_to_make(0.01, 300.0, 2_592_000.0, 0.02), 1.0)


def check_series_against_sweep() -> None:
    """Three parts in series, their outages drawn and swept together, for three shares.

    Source: Monte Carlo of 10,000 months; outages of a part and common ones as Poisson processes.
    """
    rng, months, period = np.random.default_rng(8), 10_000, 2_592_000.0
    edges = np.arange(months + 1) * period
    for shared in (0.0, 0.4, 1.0):
        count = rng.poisson((3 * (1 - shared) + shared) * 1.5 * months)
        starts = rng.uniform(0, edges[-1], count)
        ends = starts + rng.exponential(900.0, count)
        down = down_together(starts, ends, 1, edges)
        expected = series_downtime_exceeds(2592.0, 3, 1.5, 900.0, shared)
        checks.covers(f"share {shared:g}", _share((down > 2592.0).astype(float)), expected)


def check_bad_input_is_refused() -> None:
    """Months of 27 days, certain breaches and shares above one are errors."""
    checks.raises("27 days", longest_outage, 0.9, 27, 1.0, match="days must be")
    checks.raises("b = 0", unnoticed, 0.0, 1.0, 1.0, 1.0, match="burn must be")
    checks.raises("p = 0", promise_to_make, 1.0, 1.0, 1.0, 0.0, match="breach must be")
    checks.raises("β = 2", series_downtime_exceeds, 1.0, 2, 1.0, 1.0, 2.0, match="shared must be")
