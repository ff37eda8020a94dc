"""Solutions: replicas without a spare, what two histograms say together, the promise to make.

Source: the chapter's models; Fréchet's bounds for the chance of two events.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.definitions.slo_sla.joint_objective import missed_without_spare
from serving_mathematics.definitions.slo_sla.monthly_attainment import (
    _simulated_downtime,
    downtime_exceeds,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require_in,
    require_positive,
    require_positive_integer,
)

MONTH_S = 30 * 86_400.0
HINTS = {
    "least_up": (
        "A request misses if it comes at the peak, while a replica is down, and is not among those"
        " that keep the limits even so. The probability that all n replicas are up is the nth power"
        " of that for one."
    ),
    "both_kept": (
        "At most as many keep both as keep the harder limit. Those that miss the first and those "
        "that miss the other may all be different requests: subtract both from one."
    ),
    "promise_to_make": (
        "The probability of more downtime than x falls with x: bisect for the x at which it "
        "equals the breach you accept. Look first at whether no downtime at all is likely "
        "enough."
    ),
}


def least_up(replicas: int, peak_share: float, kept: float, promised: float) -> float:
    """Share of the time that each replica must be up, if a fleet without a spare keeps a promise.

    replicas: n ≥ 1, up or down by themselves. peak_share: of the requests that come while all of
    them are needed, in [0, 1]. kept: share of these that keep the limits while one or more are
    down, in [0, 1]; all others do. promised: share of all requests, in (0, 1). At least 0. Raises
    ValueError outside these ranges.

    >>> least_up(2, peak_share=0.5, kept=0.0, promised=0.625)
    0.5
    """
    replicas = require_positive_integer(replicas=replicas)
    peak_share, kept = require_in("[0, 1]", peak_share=peak_share, kept=kept)
    promised = require_in("(0, 1)", promised=promised)
    at_risk, may_miss = peak_share * (1 - kept), 1 - promised
    return (1 - may_miss / at_risk) ** (1 / replicas) if may_miss < at_risk else 0.0


def both_kept(first: float, further: float) -> tuple[float, float]:
    """Least and greatest share of requests that keep both limits, from the share that keeps each.

    first, further: shares in [0, 1] of the same requests. Raises ValueError outside this range.

    >>> both_kept(1.0, 0.5)
    (0.5, 0.5)
    """
    first, further = require_in("[0, 1]", first=first, further=further)
    return max(0.0, first + further - 1), min(first, further)


def promise_to_make(
    mean_outages: float, mean_outage_s: float, period_s: float, breach: float
) -> float:
    """Highest attainment that a period misses with at most this probability.

    mean_outages: in the period, from a record of a year or more: one of a few periods tells it too
    roughly. mean_outage_s: m [s]. period_s: T [s]. breach: p in (0, 1).
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


@functools.cache
def _missed_by_record(periods: int) -> float:
    """Share of months, of three outages of ten minutes on average, that miss what a record of so
    many promises at one in twenty."""
    rng, missed, mean_outages, mean_outage_s = np.random.default_rng(23), [], 3.0, 600.0
    counts = np.maximum(rng.poisson(mean_outages * periods, 150), 1)
    for count, down_s in zip(counts.tolist(), rng.gamma(counts, mean_outage_s), strict=True):
        promise = promise_to_make(count / periods, float(down_s) / count, MONTH_S, 0.05)
        allowed_s = (1 - promise) * MONTH_S
        missed.append(downtime_exceeds(allowed_s, mean_outages, mean_outage_s))
    return float(np.mean(missed))


def example() -> SimpleNamespace:
    """Answers that the page prints beside an exercise; shares in percent."""
    least, most = both_kept(0.994, 0.993)
    return SimpleNamespace(
        least_up_percent=100 * least_up(8, 0.4, 0.1, 0.99),
        board_least=100 * least,
        board_most=100 * most,
        promise_made=promise_to_make(3.0, 600.0, MONTH_S, 0.05),
        quarter_missed=100 * _missed_by_record(3),
        record_missed=100 * _missed_by_record(12),
    )


def _share(values: npt.NDArray[np.float64]) -> MeanEstimate:
    """Mean of independent values with its standard error."""
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    return MeanEstimate(float(values.mean()), error, 1.96 * error)


def check_least_up() -> None:
    """Replicas that are up that much miss as many requests as may miss, and replicas that are down
    more miss more.

    Source: `missed_without_spare`; 200,000 drawn requests at five replicas, with their standard
    error.
    """
    for replicas, peak, kept, promised in ((8, 0.4, 0.1, 0.99), (3, 0.2, 0.5, 0.999)):
        up = least_up(replicas, peak, kept, promised)
        label = f"{replicas} replicas, {promised:g}"
        missed = missed_without_spare(replicas, up, peak, kept)
        checks.close(label, missed, 1 - promised, rtol=1e-9)
        more = missed_without_spare(replicas, up - 0.0005, peak, kept)
        checks.holds(f"{label}: down more", more > 1 - promised, got=more)
    rng, size = np.random.default_rng(71), 200_000
    up = least_up(5, 0.6, 0.25, 0.9)
    down = (rng.random((size, 5)) > up).any(axis=1)
    missed_all = (rng.random(size) < 0.6) & down & (rng.random(size) > 0.25)
    checks.covers("drawn", _share(missed_all.astype(float)), 0.1)
    checks.equal("none need be up", least_up(4, 0.1, 0.5, 0.95), 0.0)
    checks.equal("nor where nobody misses", least_up(4, 0.5, 1.0, 0.99), 0.0)


def check_both_kept() -> None:
    """Both bounds are reached: the greatest share where the same requests miss both limits, the
    least where different ones do.

    Source: a thousand requests, of which some miss each limit, counted.
    """
    for first, further in ((0.992, 0.985), (0.6, 0.3), (0.25, 0.75)):
        number = np.arange(1000)
        one = number < round(1000 * first)
        same, other = number < round(1000 * further), number >= round(1000 * (1 - further))
        least, greatest = both_kept(first, further)
        checks.close(f"{first}, {further}: least", least, float((one & other).mean()), atol=1e-12)
        checks.close(f"{first}, {further}: most", greatest, float((one & same).mean()), atol=1e-12)


def check_promise() -> None:
    """The promise is missed by the chosen share of simulated months.

    Source: 40,000 simulated months; binomial standard error. With one outage in a hundred months on
    average, e^{−0.01} of them have none, which is more than 98%.
    """
    promise = promise_to_make(5.0, 300.0, 2_592_000.0, 0.02)
    months = _simulated_downtime(np.random.default_rng(7), 40_000, 5.0, 300.0)
    missed = (months > (1 - promise) * 2_592_000).astype(float)
    checks.covers("missed months", _share(missed), 0.02)
    checks.equal("outages are rarer", promise_to_make(0.01, 300.0, 2_592_000.0, 0.02), 1.0)


def check_a_short_record_promises_too_much() -> None:
    """After a record of three months, about a tenth of the months miss a promise made for one in
    twenty; after a record of a year, six in a hundred do.

    Source: 150 records of Poisson outages with exponential lengths; the exact distribution of what
    follows.
    """
    for months, low, high in ((3, 0.08, 0.16), (12, 0.05, 0.08)):
        checks.inside(f"{months} months", _missed_by_record(months), low, high)


def check_bad_input_is_refused() -> None:
    """A promise to all requests, shares above one and a breach that never comes are errors."""
    checks.raises("all", least_up, 2, 0.5, 0.0, 1.0, match="promised must be in (0, 1)")
    checks.raises("share", both_kept, 1.1, 0.5, match="first must be in [0, 1]")
    checks.raises("never", promise_to_make, 1.0, 1.0, 9.0, 0.0, match="breach must be in (0, 1)")
