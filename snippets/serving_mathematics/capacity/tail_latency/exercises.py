"""Solutions of the exercises on tail latency: whole sessions, small samples, partial answers, the
best delay, steady work.

Source: Dean and Barroso (2013) for partial answers and hedging; Franx (2001) for the wait of
constant service; the rest is derived at each function.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np

from serving_mathematics.capacity.tail_latency.hedging_simulator import _at_once, poisson_workload
from serving_mathematics.capacity.tail_latency.hedging_under_load import (
    loaded_quantile,
    smallest_stable_delay,
)
from serving_mathematics.capacity.tail_latency.tail_latency import leaf_level, mean_of_slowest
from serving_mathematics.core.queues.queue_simulator import batch_means, fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_positive_integer,
)

HINTS = {
    "slow_sessions": (
        "A session is fast only if every call is: multiply the chances of no slow call. To "
        "compare components, take logarithms: what one adds to the sum is its share of the "
        "blame, n times p roughly."
    ),
    "samples_to_bound": (
        "The largest of n is too small only when all n fall below the percentile. Ask for which"
        " n that is at most as probable as the doubt you allow; test the neighbours of the "
        "rounded solution."
    ),
    "partial_answer_level": (
        "The k-th fastest is within t when at least k of n leaves are: a binomial tail in the "
        "level of one leaf. It rises with the level, so bisect; the case k = n is the chapter's"
        " `leaf_level`."
    ),
    "best_delay": (
        "Search `loaded_quantile` over delays from `smallest_stable_delay` to the unhedged "
        "quantile, where hedging does nothing. At the end compare with not hedging: the best "
        "delay may still be a loss."
    ),
    "constant_service_twice": (
        "The first copy to begin also ends first, so only the shorter of two waits counts: its "
        "tail is the square of one wait's tail, at twice the load. Integrate piecewise, the "
        "formula changes at each whole number."
    ),
}


def slow_sessions(slow_probabilities: Sequence[float], calls: Sequence[int]) -> tuple[float, int]:
    """Share of sessions with a slow call, and the component whose slow calls cause most of them.

    slow_probabilities: p_i in [0, 1), one per component. calls: n_i ≥ 0 calls of each per session,
    all independent. Returns 1 − ∏(1−p_i)^{n_i} and the index of the largest −n_i·ln(1−p_i): without
    it the share would fall furthest. Raises ValueError on empty or unequal lists and values outside
    these ranges.

    >>> share, worst = slow_sessions([0.5, 0.25], calls=[1, 2])
    >>> share, worst
    (0.71875, 0)
    """
    require(len(slow_probabilities) > 0, "slow_probabilities", "non-empty", slow_probabilities)
    require(len(calls) == len(slow_probabilities), "calls", "one per component", calls)
    chances = [require_in("[0, 1)", slow_probabilities=p) for p in slow_probabilities]
    for n in calls:
        require(n % 1 == 0 and n >= 0, "calls", "non-negative integers", n)
    burden = [-n * math.log1p(-p) for n, p in zip(calls, chances, strict=True)]
    return -math.expm1(-math.fsum(burden)), int(np.argmax(burden))


def samples_to_bound(percentile: float, confidence: float) -> int:
    """Fewest independent latencies whose largest is at least the true percentile, with the given
    confidence.

    percentile: q in (0, 1). confidence: in (0, 1). Returns the smallest n with 1 − q^n ≥
    confidence, the fan-out formula read backwards: one of n must fall into the top 1 − q. Raises
    ValueError outside these ranges.

    >>> samples_to_bound(0.5, confidence=0.9)
    4
    """
    percentile, confidence = require_in("(0, 1)", percentile=percentile, confidence=confidence)
    count = max(1, math.floor(math.log1p(-confidence) / math.log(percentile)) - 1)
    while 1 - percentile**count < confidence:
        count += 1
    return count


def partial_answer_level(probability: float, needed: int, fan_out: int) -> float:
    """Level of one leaf's distribution at which the k-th fastest of n leaves has its q-quantile.

    probability: q in (0, 1). needed: k answers that suffice, of fan_out: n leaves, 1 ≤ k ≤ n. The
    root u of Σ_{j=k}^{n} C(n, j)·u^j·(1−u)^{n−j} = q, by bisection. Raises ValueError outside these
    ranges.

    >>> round(partial_answer_level(0.75, needed=1, fan_out=2), 12)
    0.5
    """
    needed = as_number(needed=needed)
    probability = require_in("(0, 1)", probability=probability)
    fan_out = require_positive_integer(fan_out=fan_out)
    rule = f"an integer from 1 to {fan_out}"
    require(needed % 1 == 0 and 1 <= needed <= fan_out, "needed", rule, needed)
    low, high = 0.0, 1.0
    for _ in range(60):
        level = (low + high) / 2
        enough = math.fsum(
            math.comb(fan_out, j) * level**j * (1 - level) ** (fan_out - j)
            for j in range(needed, fan_out + 1)
        )
        low, high = (level, high) if enough < probability else (low, level)
    return high


def best_delay(utilization: float, probability: float = 0.99) -> tuple[float, float]:
    """Fixed delay that makes the hedged quantile of a large fleet smallest, and what remains of the
    unhedged quantile.

    utilization: ρ in [0, 1), first copies alone. probability: q in (0, 1). Searches from the
    shortest stable delay to the unhedged quantile by golden section; returns the delay [mean
    service times] and the ratio of the quantiles, or an infinite delay and 1 where no delay gains.
    Raises ValueError outside these ranges.

    >>> best_delay(0.0)[0], round(best_delay(0.0)[1], 6)
    (0.0, 0.5)
    """
    probability = require_in("(0, 1)", probability=probability)
    alone = loaded_quantile(probability, utilization, math.inf)
    start = smallest_stable_delay(utilization)
    low, high = start, alone
    golden = (math.sqrt(5) - 1) / 2
    while low < high - 1e-9 * alone:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loaded_quantile(probability, utilization, left) <= loaded_quantile(
            probability, utilization, right
        ):
            high = right
        else:
            low = left
    delay = 0.0 if start == 0 and high < 1e-8 * alone else high
    ratio = loaded_quantile(probability, utilization, delay) / alone
    return (delay, ratio) if ratio < 1 else (math.inf, 1.0)


def constant_service_twice(utilization: float) -> tuple[float, float]:
    """Mean response of constant service, alone and when every request goes to two servers and both
    copies run to their end.

    utilization: ρ in [0, 0.5), one copy. Returns both means in service times: 1 + ρ/(2(1−ρ)), and 1
    + ∫P(W>t)² dt with the M/D/1 wait at 2ρ, P(W≤t) = (1−2ρ)·Σ_{k≤t} (2ρ(k−t))^k/k!·e^{−2ρ(k−t)}, as
    if the two queues were independent. Raises ValueError outside the range. Source: Franx (2001)
    for the wait.

    >>> constant_service_twice(0.0)
    (1.0, 1.0)
    """
    utilization = require_in("[0, 0.5)", utilization=utilization)
    alone, load = 1 + utilization / (2 * (1 - utilization)), 2 * utilization
    nodes, weights = np.polynomial.legendre.leggauss(16)
    twice, start, waiting = 1.0, 0, load
    while waiting > 1e-7 and start < 30:  # beyond, the alternating sum has lost its digits
        times = start + (nodes + 1) / 2
        served = np.zeros_like(times)
        for k in range(start + 1):
            x = load * (k - times)
            served += (1 - load) * x**k / math.factorial(k) * np.exp(-x)
        twice += float(weights @ (1 - served) ** 2) / 2
        waiting = 1 - float(served[-1])
        start += 1
    return alone, twice


def example() -> SimpleNamespace:
    """What the page quotes of an exercise."""
    return SimpleNamespace(steady_break_even=100 * _steady_break_even())


def check_sessions() -> None:
    """Of sessions with 12 model calls (2% slow) and 30 tool calls (0.1% slow), 24% are slow, the
    model's fault.

    Source: exact fractions; 100,000 drawn sessions.
    """
    share, worst = slow_sessions([0.02, 0.001], [12, 30])
    exact = 1 - Fraction(98, 100) ** 12 * Fraction(999, 1000) ** 30
    checks.close("share", share, float(exact), rtol=1e-13)
    checks.equal("component", worst, 0)
    rng = np.random.default_rng(81)
    slow = (rng.binomial(12, 0.02, 100_000) + rng.binomial(30, 0.001, 100_000)) > 0
    checks.covers("drawn", batch_means(slow.astype(float)), share)
    share, worst = slow_sessions([0.004, 0.01, 0.0], [50, 10, 999])
    checks.equal("many nearly good calls are worse", worst, 0)


def check_sample_sizes() -> None:
    """59 latencies bound the p95 and 299 the p99 with 95% confidence, one less does not; ten bound
    no p95.

    Source: 0.95^59 < 0.05 ≤ 0.95^58 and so on in exact fractions; 20,000 drawn samples.
    """
    for q, count in ((95, 59), (99, 299)):
        checks.equal(f"p{q}", samples_to_bound(q / 100, 0.95), count)
        exact = Fraction(q, 100)
        checks.holds("exactly", exact**count < Fraction(1, 20) <= exact ** (count - 1))
    rng = np.random.default_rng(82)
    bounded = rng.random((20_000, 59)).max(axis=1) >= 0.95
    checks.covers("drawn, n = 59", batch_means(bounded.astype(float)), 1 - 0.95**59)
    checks.close("p95 in the largest of ten", 1 - 0.95**10, 0.4013, atol=5e-5)


def check_partial_answers() -> None:
    """Waiting for 95 of 100 exponential leaves instead of all takes 2.9 instead of 5.2 mean times.

    Source: H_100 − H_5 by integrating the survival of the 95th; the level of all hundred; drawn
    order statistics.
    """
    checks.close(
        "all of 100", partial_answer_level(0.99, 100, 100), leaf_level(0.99, 100), rtol=1e-9
    )
    levels = (np.arange(200) + 0.5) / 200
    quantiles = [-math.log1p(-partial_answer_level(float(q), 95, 100)) for q in levels]
    exact = mean_of_slowest(100) - mean_of_slowest(5)
    checks.close("mean of the 95th", np.mean(quantiles), exact, rtol=2e-3)
    rng = np.random.default_rng(83)
    drawn = np.partition(rng.random((14_000, 100)), 94, axis=1)[:, 94]
    fast = drawn <= partial_answer_level(0.99, 95, 100)
    checks.covers("drawn share below the p99", batch_means(fast.astype(float)), 0.99)


def check_best_delay() -> None:
    """The best delay beats every other one on a grid, and from 80% load on there is none.

    Source: direct search over 200 delays.
    """
    for utilization in (0.2, 0.5, 0.7):
        alone = loaded_quantile(0.99, utilization, math.inf)
        start = smallest_stable_delay(utilization)
        grid = np.linspace(start, alone, 201)[1:]
        ratios = [loaded_quantile(0.99, utilization, float(d)) / alone for d in grid]
        delay, ratio = best_delay(utilization)
        found = float(grid[int(np.argmin(ratios))])
        checks.close(
            f"delay at ρ = {utilization}", delay, found, atol=1.01 * float(grid[1] - grid[0])
        )
        checks.holds("no better on the grid", ratio <= min(ratios), got=ratio)
    checks.equal("none at 81%", best_delay(0.81), (math.inf, 1.0))


def _steady_break_even() -> float:
    """Load up to which two copies lower the mean of constant service, by bisection."""
    low, high = 0.0, 0.5
    for _ in range(24):  # to 3e-8
        middle = (low + high) / 2
        alone, twice = constant_service_twice(middle)
        low, high = (middle, high) if twice < alone else (low, middle)
    return low


def check_constant_service() -> None:
    """Constant service gains less from a second copy than exponential service: up to 27% load
    instead of 33%.

    Source: two independent simulated M/D/1 queues at 2ρ; the sign of the gain on both sides of the
    crossing; fleets of 20 servers, whose queues are not quite independent, gain at 25% and lose at
    28%.
    """
    rng = np.random.default_rng(84)
    waits = [
        fifo_waits(np.cumsum(rng.exponential(1 / 0.6, 140_000)), np.ones(140_000)) for _ in "ab"
    ]
    alone, twice = constant_service_twice(0.3)
    checks.covers("two copies at ρ = 0.3", batch_means(1 + np.minimum(*waits)[1000:]), twice)
    single = fifo_waits(np.cumsum(rng.exponential(1 / 0.3, 280_000)), np.ones(280_000))
    checks.covers("one copy at ρ = 0.3", batch_means(1 + single[1000:]), alone)
    gains = [np.subtract(*constant_service_twice(rho)) for rho in (0.27, 0.275)]
    checks.holds("gains at 27%, loses at 27.5%", bool(gains[0] > 0 > gains[1]), got=gains)
    low, high = (poisson_workload(rng, rho, 20, 1500, 90) for rho in (0.25, 0.28))
    both = low.beside(high)
    both = replace(both, services=np.ones_like(both.services))
    one, two = (_at_once(both, copies)[:, 500:].reshape(2, -1) for copies in (1, 2))
    for rho, sign, saved in ((0.25, 1, one[0] - two[0]), (0.28, -1, one[1] - two[1])):
        found = batch_means(saved)
        gain, error = sign * found.mean, found.standard_error
        label = "gain" if sign > 0 else "loss"
        checks.holds(
            f"{label} of 20 servers at {rho:.0%}",
            gain > 3 * error,
            got=f"{gain:.4f} ± {error:.4f}",
            kind="simulation",
        )


def check_bad_input_is_refused() -> None:
    """Lists that do not match, a confidence of 1 and more answers than leaves are errors."""
    checks.raises("lists", slow_sessions, [0.1], [1, 2], match="calls must be one per component")
    checks.raises("p = 1", slow_sessions, [1.0], [1], match="slow_probabilities must be in [0, 1)")
    checks.raises("confidence", samples_to_bound, 0.9, 1.0, match="confidence must be in (0, 1)")
    checks.raises("101 of 100", partial_answer_level, 0.9, 101, 100, match="needed must be an int")
    checks.raises("ρ = 1", best_delay, 1.0, match="utilization must be in [0, 1)")
    checks.raises("half", constant_service_twice, 0.5, match="utilization must be in [0, 0.5)")
