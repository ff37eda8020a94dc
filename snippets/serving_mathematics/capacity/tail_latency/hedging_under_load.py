"""Second copies are load, and load makes requests late: the textbook's fleet of single servers.

In a large fleet every server sees Poisson arrivals of first and second copies together, at ρ' = ρ(1
+ h), and a share h = e^{−(1−ρ')d} of the first copies is still unanswered after d. The smallest
solution ρ' of

    ρ' = ρ·(1 + e^{−(1−ρ')d})

is the load that a fleet settles at. Up to ρ = 1/2 there is always one. Above, there are two or
none: between them lies the tipping point, and below the delay at which they meet, (1−ρ)d = 1 +
ln(ρd), there is no steady state at all. A delay at a fixed percentile q of the unhedged response
has no steady state beyond ρ = 1/(1 + (1−q)·e·ln(1/(1−q))).

Assumes: exponential service with mean 1, independent copies, random servers, losers that run on,
and many servers, so that the state of one says nothing about that of another.

Source: derived in the chapter from the M/M/1 response; Bronson and others (2021) for the
bistability.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import STUDENT_T_975
from serving_mathematics.support.require import as_number, require, require_in

FloatArray = npt.NDArray[np.float64]


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where an increasing function crosses zero between low and high, by bisection."""
    for _ in range(100):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (low, middle) if function(middle) > 0 else (middle, high)
    return high


def smallest_stable_delay(utilization: float) -> float:
    """Fixed delay that must be exceeded for a steady state: 0 below ρ = 1/2, else the larger root
    of (1−ρ)d = 1 + ln(ρd).

    utilization: ρ in [0, 1), first copies alone. Returns d in mean service times. Raises ValueError
    outside the range. At this delay the curve ρ(1 + e^{−(1−x)d}) touches the diagonal.

    >>> smallest_stable_delay(0.5)
    2.0
    """
    utilization = require_in("[0, 1)", utilization=utilization)
    if utilization < 0.5:
        return 0.0
    spare = 1 - utilization
    low = high = 1 / spare  # where the left side minus the right is smallest
    while spare * high < 1 + math.log(utilization * high):
        high *= 2
    return _root(lambda d: spare * d - 1 - math.log(utilization * d), low, high)


def hedged_load(utilization: float, delay: float) -> float:
    """Load ρ' of every server, first and second copies, that a large fleet settles at.

    utilization: ρ in [0, 1), first copies alone. delay: d ≥ 0 [mean service times], infinite for no
    hedging. Raises ValueError outside these ranges and where there is no steady state.

    >>> round(hedged_load(0.3, delay=0.0), 12)
    0.6
    """
    utilization, delay = as_number(utilization=utilization, delay=delay)
    shortest = smallest_stable_delay(utilization)
    rule = f"above {shortest:.6g} for a steady state" if shortest else "non-negative"
    require(delay > shortest or (shortest == 0 and delay == 0), "delay", rule, delay)
    if delay == math.inf:
        return utilization
    # x − ρ(1 + e^{−(1−x)d}) is negative at ρ and rises up to `turn`.
    turn = 1.0
    if utilization * delay > 1:
        turn = 1 - math.log(utilization * delay) / delay
    return _root(lambda x: x - utilization * (1 + math.exp((x - 1) * delay)), utilization, turn)


def tipping_load(utilization: float, delay: float) -> float:
    """Load above which a large fleet cannot return: the other solution of the same equation, 1 at ρ
    ≤ 1/2.

    utilization: ρ in [0, 1). delay: d with a steady state [mean service times]. Raises ValueError
    as `hedged_load`.

    >>> round(tipping_load(0.6, delay=7.5), 4)
    0.9134
    """
    utilization, delay = as_number(utilization=utilization, delay=delay)
    hedged_load(utilization, delay)  # refuses what has no steady state
    if utilization <= 0.5 or delay == math.inf:
        return 1.0
    turn = 1 - math.log(utilization * delay) / delay
    return _root(lambda x: utilization * (1 + math.exp((x - 1) * delay)) - x, turn, 1.0)


def loaded_quantile(probability: float, utilization: float, delay: float) -> float:
    """Quantile of the hedged response in a large fleet, at the load that hedging itself creates.

    probability: q in (0, 1). utilization, delay: as for `hedged_load`. Returns mean service times:
    with spare capacity 1 − ρ' = θ it solves e^{−θt} = 1 − q up to d, and e^{−θ(2t−d)} = 1 − q after
    it.

    >>> round(loaded_quantile(0.99, utilization=0.5, delay=math.inf), 5)
    9.21034
    """
    utilization = as_number(utilization=utilization)
    probability = require_in("(0, 1)", probability=probability)
    alone = -math.log1p(-probability) / (1 - hedged_load(utilization, delay))
    return alone if alone <= delay else (alone + delay) / 2


def example() -> SimpleNamespace:
    """Numbers of the page, in percent; copies leave at the p95 without copies."""
    alone, hedged = math.log(100), loaded_quantile(0.99, 0.0, math.log(20))
    return SimpleNamespace(
        exponential_cut=100 * (1 - hedged / alone),
        stale_extra=100 * (hedged_load(0.6, math.log(20) / 0.5) / 0.6 - 1),
        tip_at_60=100 * tipping_load(0.6, math.log(20) / 0.4),
    )


def _fleet(rng: np.random.Generator, rho: float, delay: float, requests: int) -> FloatArray:
    """Responses of a hundred single servers, begun at the load of the fixed point."""
    servers, load = 100, hedged_load(rho, delay)
    busy = rng.random(servers) < load
    free_at = np.where(busy, rng.exponential(1 / (1 - load), servers), 0.0).tolist()
    arrivals = np.cumsum(rng.exponential(1 / (rho * servers), requests)).tolist()
    first = rng.integers(0, servers, requests)
    others = (first + rng.integers(1, servers, requests)) % servers
    places = np.stack([first, others], axis=1).tolist()
    services = rng.exponential(1.0, (requests, 2)).tolist()
    done, timers = [math.inf] * requests, list[tuple[float, int]]()
    for request, arrival in enumerate([*arrivals, math.inf]):
        while timers and timers[0][0] <= arrival:
            now, late = heapq.heappop(timers)
            place = places[late][1]
            free_at[place] = end = max(now, free_at[place]) + services[late][1]
            done[late] = min(done[late], end)
        if request < requests:
            place = places[request][0]
            free_at[place] = done[request] = max(arrival, free_at[place]) + services[request][0]
            if done[request] > arrival + delay:
                heapq.heappush(timers, (arrival + delay, request))
    return np.asarray(np.array(done) - np.array(arrivals))


def _share_beyond(
    rng: np.random.Generator, rho: float, delay: float, time: float, requests: int
) -> MeanEstimate:
    """Of responses in eight such fleets, after a fifth of the requests."""
    runs = [
        float((_fleet(rng, rho, delay, requests)[requests // 5 :] > time).mean()) for _ in range(8)
    ]
    error = float(np.std(runs, ddof=1)) / math.sqrt(len(runs))
    return MeanEstimate(float(np.mean(runs)), error, STUDENT_T_975[len(runs) - 1] * error)


def check_simulated_fleets_settle_at_the_fixed_point() -> None:
    """Of a hundred servers at three loads, one request in a hundred exceeds the p99 of the fixed
    point.

    Source: simulation of every copy, which takes from the fixed point the load it starts at.
    """
    rng = np.random.default_rng(61)
    for rho, delay in ((0.3, 2.0), (0.5, 6.0), (0.6, 10.0)):
        found = _share_beyond(rng, rho, delay, loaded_quantile(0.99, rho, delay), 5000)
        checks.covers(f"share beyond it, load {rho:g}, delay {delay:g}", found, 0.01)


def check_a_delay_of_a_lower_load() -> None:
    """At 60% load a delay that is the p95 of half load sends sixteen copies for a hundred requests,
    that of the same load without copies seven; one of 40% load has no steady state.

    Source: the equation, repeated from the load without copies until it stands or all is full;
    simulation of every copy for the sixteen.
    """
    for old, due in ((0.6, 0.068), (0.5, 0.164), (0.4, 2 / 3)):
        delay, load = math.log(20) / (1 - old), 0.6
        for _ in range(1000):
            load = min(1.0, 0.6 * (1 + math.exp(-(1 - load) * delay)))
        checks.close(f"of {old:.0%} load, by steps", load / 0.6 - 1, due, atol=5e-4)
        if load < 1:
            checks.close(f"of {old:.0%} load", hedged_load(0.6, delay), load, rtol=1e-9)
        else:
            checks.raises("none", hedged_load, 0.6, delay, match="delay must be above 5.47")
    delay = math.log(20) / 0.5
    found = _share_beyond(np.random.default_rng(62), 0.6, delay, delay, 40_000)
    checks.covers("of 50% load, copies for a request", found, hedged_load(0.6, delay) / 0.6 - 1)


def check_fixed_points_solve_the_equation() -> None:
    """Settled and tipping load both solve ρ' = ρ(1 + e^{−(1−ρ')d}), and where they meet the delay
    is the shortest.

    Source: the equation evaluated at the results; the tangent condition ρd·e^{−(1−x)d} = 1.
    """
    for rho, delay in ((0.3, 1.0), (0.6, 7.5), (0.8, 30.0)):
        roots = [hedged_load(rho, delay), tipping_load(rho, delay)]
        for root in roots[: 1 if rho < 0.5 else 2]:
            right = rho * (1 + math.exp(-(1 - root) * delay))
            checks.close(f"ρ = {rho}, d = {delay:g}", right, root, rtol=1e-12)
    for rho in (0.55, 0.8):
        delay = smallest_stable_delay(rho)
        touch = hedged_load(rho, delay * (1 + 1e-12))
        slope = rho * delay * math.exp(-(1 - touch) * delay)
        checks.close(f"tangent at ρ = {rho}", slope, 1.0, atol=1e-4)


def check_a_quantile_by_hand() -> None:
    """Without load the p99 with copies at the p95 is (ln 100 + ln 20)/2.

    Source: the product of two tails.
    """
    by_hand = (math.log(100) + math.log(20)) / 2
    checks.close("p99", loaded_quantile(0.99, 0.0, math.log(20)), by_hand, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Delays without a steady state, saturated loads and unknown quantiles are errors."""
    checks.raises("too early", hedged_load, 0.8, 15.0, match="delay must be above 18.4632 for a")
    checks.raises("d < 0", hedged_load, 0.3, -1.0, match="delay must be non-negative, got -1.0")
    checks.raises("ρ = 1", smallest_stable_delay, 1.0, match="utilization must be in [0, 1)")
    checks.raises("NaN q", loaded_quantile, math.nan, 0.3, 1.0, match="probability must be in (0,")
