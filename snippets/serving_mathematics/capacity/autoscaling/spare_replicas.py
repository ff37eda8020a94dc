"""Replicas held in reserve: warm ones against start-up, and none at all.

Warm pool: orders come at Poisson times with rate ν, each takes a warm replica and starts another,
which takes D. The number that are starting is Poisson with mean νD, whatever the distribution of D,
so an order finds none of w warm ones with P(Poisson(νD) ≥ w). Scale to zero: a replica that is kept
for K after the last request, and started by the next one P/2 later on average, finds a share
(1 + λ(D + P/2))/(λ(D + P/2) + e^{λK}) of the requests not ready.

Assumes: in the first, orders that do not depend on each other; in the second, Poisson requests
whose service is short against their gaps.

Source: Feeney and Sherbrooke (1966) by Palm's theorem; renewal–reward; KEDA and Knative for the
settings.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import STUDENT_T_975
from serving_mathematics.support.require import (
    require,
    require_in,
    require_non_negative,
    require_positive,
)

KEDA_COOLDOWN_S = 300.0  # kept after the last trigger was active, by default; KEDA, ScaledObject
KEDA_POLLING_S = 30.0  # between looks at the trigger, by default; the same
KNATIVE_KEPT_S = 60.0  # the stable window; retention after it is 0 by default; Knative


def warm_replicas(orders_per_s: float, startup_s: float, miss_probability: float) -> int:
    """Fewest warm replicas with which an order finds none at most so often.

    orders_per_s: ν, rate at which replicas are taken out of the pool [1/s]. startup_s: D, mean time
    until the replacement is warm [s]. miss_probability: in (0, 1). Raises ValueError on negative
    numbers, more than 700 orders in a start-up, or a probability outside the range.

    >>> warm_replicas(orders_per_s=1 / 600, startup_s=600.0, miss_probability=0.1)  # P(N ≥ 3) = .08
    3
    """
    orders_per_s, startup_s = require_non_negative(orders_per_s=orders_per_s, startup_s=startup_s)
    miss_probability = require_in("(0, 1)", miss_probability=miss_probability)
    mean = orders_per_s * startup_s
    most = "so few that at most 700 are on their way"  # e⁻ᵐ would be 0
    require(mean <= 700, "orders_per_s", most, orders_per_s)
    warm, term, below = 0, math.exp(-mean), 0.0
    while 1 - below > miss_probability:
        below += term
        warm += 1
        term *= mean / warm
    return warm


def scale_to_zero(
    arrival_rate: float, kept_s: float, startup_s: float, polling_s: float = 0.0
) -> tuple[float, float]:
    """What it costs and saves to run nothing while nobody asks: share of requests that find no
    ready replica, and share of the time for which one is paid.

    arrival_rate: λ [1/s]. kept_s: K, after the last request [s]. startup_s: D, from the order to
    readiness [s]. polling_s: between looks whether anybody asks, of which the first request waits
    half on average [s]. Raises ValueError on a rate that is not positive or negative times.

    >>> late, paid = scale_to_zero(1 / 600, kept_s=300.0, startup_s=180.0)
    >>> round(late, 4), round(paid, 4)
    (0.6671, 0.4868)
    """
    arrival_rate = require_positive(arrival_rate=arrival_rate)
    kept_s, startup_s, polling_s = require_non_negative(
        kept_s=kept_s, startup_s=startup_s, polling_s=polling_s
    )
    seen, start = arrival_rate * polling_s / 2, arrival_rate * startup_s  # requests meanwhile
    stays = math.exp(min(arrival_rate * kept_s, 700.0))
    cycle = seen + start + stays
    return (1 + seen + start) / cycle, (start + stays - 1) / cycle


@functools.cache
def _simulated_pool(exponential: bool) -> MeanEstimate:
    """Share of orders that find none of three warm replicas, ν = 1/600 and D = 600 s on average."""
    rng = np.random.default_rng(66)
    orders, lanes = 14_000, 16
    shares = []
    for _ in range(lanes):
        times = np.cumsum(rng.exponential(600.0, orders))
        starts = rng.exponential(600.0, orders) if exponential else np.full(orders, 600.0)
        ready = np.sort(times + starts)  # when replacements become warm
        outstanding = np.arange(orders) - np.searchsorted(ready, times)
        shares.append(float(np.mean(outstanding[500:] >= 3)))
    error = float(np.std(shares, ddof=1)) / math.sqrt(lanes)
    return MeanEstimate(float(np.mean(shares)), error, STUDENT_T_975[15] * error)


def example() -> SimpleNamespace:
    """Worked numbers; shares in percent."""
    rows = []
    for name, kept, polling in (
        ("Knative", KNATIVE_KEPT_S, 0.0),
        ("KEDA", KEDA_COOLDOWN_S, KEDA_POLLING_S),
        ("kept for half an hour", 1800.0, KEDA_POLLING_S),
    ):
        cells = [scale_to_zero(1 / 600, kept, startup, polling) for startup in (180.0, 20.0)]
        late = " | ".join(f"{100 * share:.0f}% | {100 * paid:.0f}%" for share, paid in cells)
        rows.append(f"| {name} | {kept:,.0f} s | {late} |")
    return SimpleNamespace(
        zero_rows="\n".join(rows),
        warm_slow=warm_replicas(1 / 300, 600.0, 0.05),
        warm_quick=warm_replicas(1 / 300, 30.0, 0.05),
    )


def check_warm_pool_is_palms() -> None:
    """An order finds none of three warm replicas in 8 of 100 cases at νD = 1, whether start-ups are
    all equal or exponential.

    Source: 1 − e⁻¹(1 + 1 + ½) by hand; 16 simulated pools of 14,000 orders each.
    """
    exact = 1 - 2.5 / math.e
    for label, exponential in (("equal", False), ("exponential", True)):
        checks.covers(f"{label} start-ups", _simulated_pool(exponential), exact)
    checks.equal("warm, for one miss in ten", warm_replicas(1 / 600, 600.0, 0.1), 3)
    checks.equal("warm, for 8 in 100", warm_replicas(1 / 600, 600.0, exact * 0.999), 4)


def check_scale_to_zero() -> None:
    """With one request in ten minutes and a start-up of three, KEDA's defaults make two requests of
    three wait; the formula is that of the exercise on keeping warm, turned round.

    Source: 140,000 simulated requests, with a poll every 30 s.
    """
    rng = np.random.default_rng(68)
    gaps = rng.exponential(600.0, 140_000)
    polls = rng.uniform(0.0, 30.0, gaps.size)
    late = np.zeros(gaps.size)
    ready, last = 0.0, -math.inf  # when the replica serves, and the later of that and a request
    now = 0.0
    for n, (gap, poll) in enumerate(zip(gaps.tolist(), polls.tolist(), strict=True)):
        now += gap
        if now > last + 300.0:
            ready = now + poll + 180.0
        late[n] = now < ready
        last = max(now, ready)
    parts = late.reshape(100, -1).mean(axis=1)
    error = float(parts.std(ddof=1)) / 10
    share, _ = scale_to_zero(1 / 600, 300.0, 180.0, 30.0)
    checks.covers("KEDA", MeanEstimate(float(late.mean()), error, 1.984 * error), share)
    checks.inside("two of three", share, 0.6, 0.75)
    # never kept: every request that does not fall into a start-up begins one
    checks.close("never kept, late", scale_to_zero(1.0, 0.0, 3.0)[0], 1.0, rtol=1e-12)
    checks.close("never kept, paid", scale_to_zero(1.0, 0.0, 3.0)[1], 0.75, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Negative rates and certain success are errors that name the argument."""
    checks.raises("rate", warm_replicas, -1.0, 1.0, 0.1, match="orders_per_s must be non-negative")
    checks.raises("never", warm_replicas, 1.0, 1.0, 0.0, match="miss_probability must be in (0, 1)")
    checks.raises("nobody", scale_to_zero, 0.0, 1.0, 1.0, match="arrival_rate must be positive")
