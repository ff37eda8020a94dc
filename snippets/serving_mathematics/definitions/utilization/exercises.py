"""Solutions: two gauges from one log, the load limit of a pool, and who gains by separate queues.

A log of services gives both the utilization of the servers and the share of time with any of them
busy. The response time of M/M/c is an Erlang C wait plus an exponential service, so its tail mixes
two exponentials. Separate servers for short and long requests trade the pooled queue's common wait
for a short one and a long one.

Assumes: the chapter's models; in the last exercise constant lengths within each class.

Source: Erlang (1917); Pollaczek (1930); Allen (1990); the definitions of the chapter.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.erlang import erlang_c, max_utilization
from serving_mathematics.core.queues.long_runs import fast_waits
from serving_mathematics.core.queues.queue_simulator import MeanEstimate, batch_means, fifo_waits
from serving_mathematics.definitions.utilization.queue_approximations import (
    allen_cunneen_wait,
    pollaczek_khinchine_wait,
)
from serving_mathematics.definitions.utilization.utilization_gauge import any_busy
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_finite,
    require_finite,
    require_in,
    require_non_negative,
    require_positive_integer,
    require_shape,
)

HINTS = {
    "busy_from_log": (
        "Cut every service to the window first. Busy servers add up, but for the time with any "
        "of them busy overlaps count once: go through the services by start and remember the "
        "latest end."
    ),
    "response_exceeds": (
        "The wait is zero with probability 1 − C, else exponential with rate c(1 − ρ) in units "
        "of the service rate; add an independent exponential service. When both rates agree the"
        " formula is 0/0: use its limit."
    ),
    "max_pool_utilization": (
        "The tail beyond the allowed slowdown rises with the load: bisect on `response_exceeds`"
        " until it equals 1 − q. Even an idle server misses a slowdown below −ln(1 − q)."
    ),
    "pooled_and_split_waits": (
        "Pooled, the mixture of two lengths sets the variance in Allen–Cunneen's formula. "
        "Apart, each class is an M/D/1 queue of its own: check the load of each, and bring all "
        "three waits to the same unit."
    ),
}


def busy_from_log(
    start_s: npt.ArrayLike,
    end_s: npt.ArrayLike,
    servers: int,
    window_start_s: float,
    window_end_s: float,
) -> tuple[float, float]:
    """Utilization of the servers, and share of time with any of them busy, inside a window.

    start_s, end_s: when each service began and ended [s], shape (n,), in any order. servers: c.
    Raises ValueError on an empty window, on services that end before they start, and on a log that
    is busier than c servers can be.

    >>> busy_from_log([0.0, 1.0, 6.0], [4.0, 3.0, 20.0], 2, window_start_s=0.0, window_end_s=10.0)
    (0.5, 0.8)
    """
    window_end_s = as_number(window_end_s=window_end_s)
    starts, ends = as_floats(start_s=start_s), as_floats(end_s=end_s)
    require(starts.ndim == 1, "start_s", "of one dimension", starts.shape)
    require_shape(starts.shape, end_s=ends)
    require_all_finite(start_s=starts)
    require(np.all((ends >= starts) & (ends < math.inf)), "end_s", "finite and ≥ start_s", ends)
    servers = require_positive_integer(servers=servers)
    window_start_s = require_finite(window_start_s=window_start_s)
    require(
        window_start_s < window_end_s < math.inf,
        "window_end_s",
        "finite and after window_start_s",
        window_end_s,
    )
    order = np.argsort(starts)
    starts = np.clip(starts[order], window_start_s, window_end_s)
    ends = np.clip(ends[order], window_start_s, window_end_s)
    window = window_end_s - window_start_s
    utilization = float((ends - starts).sum()) / (servers * window)
    require(utilization <= 1 + 1e-12, "busy time in the log", "within the servers' time", ends)
    latest = np.maximum.accumulate(np.r_[window_start_s, ends])  # no gap opens before this time
    covered = np.maximum(ends - np.maximum(starts, latest[:-1]), 0).sum()
    return utilization, float(covered) / window


def response_exceeds(slowdown: float, utilization: float, servers: int) -> float:
    """P(T > r·S) for the response time, wait and service, of M/M/c.

    slowdown: r ≥ 0. utilization: ρ in [0, 1). servers: c. Raises ValueError outside these ranges.
    The wait is 0 with probability 1 − C and exponential with rate θ = c(1−ρ) otherwise; convolved
    with an exponential service it gives e^{−r}·(1 + C·(1 − e^{−(θ−1)r})/(θ−1)).

    >>> round(response_exceeds(5.0, utilization=0.8, servers=1), 9)  # e^{−(1−ρ)r} = e^{−1}
    0.367879441
    """
    slowdown = require_non_negative(slowdown=slowdown)
    utilization = require_in("[0, 1)", utilization=utilization)
    waiting = erlang_c(servers, utilization * servers)
    excess = servers * (1 - utilization) - 1  # θ − 1, in units of the service rate
    spread = -math.expm1(-excess * slowdown) / excess if excess else slowdown
    return math.exp(-slowdown) * (1 + waiting * spread)


def max_pool_utilization(probability: float, slowdown: float, servers: int) -> float:
    """Highest ρ at which the response quantile of M/M/c stays within `slowdown` service times.

    probability: q in (0, 1). slowdown: r, above −ln(1−q), below which an idle server fails.
    servers: c. Found by bisection, since the tail rises with ρ. Raises ValueError outside these
    ranges.

    >>> round(max_pool_utilization(probability=0.99, slowdown=10.0, servers=1), 7)
    0.539483
    """
    slowdown = as_number(slowdown=slowdown)
    probability = require_in("(0, 1)", probability=probability)
    idle = -math.log1p(-probability)
    require(
        idle < slowdown < math.inf,
        "slowdown",
        f"finite and above {idle:.6g}, the quantile of an idle server",
        slowdown,
    )
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if middle < 1 and response_exceeds(slowdown, middle, servers) <= 1 - probability:
            low = middle
        else:
            high = middle
    return low


def pooled_and_split_waits(
    utilization: float, long_share: float, stretch: float
) -> tuple[float, float, float]:
    """Mean waits behind one queue for two servers, and of short and long requests kept apart.

    utilization: ρ of the two servers together, in (0, 1). long_share: f in (0, 1), the share of
    requests that take k times as long. stretch: k ≥ 1. Lengths within a class are constant.
    Returns (pooled, short, long) in units of the short service time; pooled is Allen–Cunneen's
    approximation, the others are exact. Raises ValueError outside these ranges, and when a class
    alone would saturate its server.

    >>> pooled, short, long = pooled_and_split_waits(0.5, long_share=0.25, stretch=3.0)
    >>> round(pooled, 9), short, long
    (0.333333333, 0.5, 1.5)
    """
    stretch = as_number(stretch=stretch)
    utilization, long_share = require_in("(0, 1)", utilization=utilization, long_share=long_share)
    require(1 <= stretch < math.inf, "stretch", "finite and ≥ 1", stretch)
    mean = 1 - long_share + long_share * stretch
    rate = 2 * utilization / mean
    short, long = rate * (1 - long_share), rate * long_share * stretch
    require(max(short, long) < 1, "utilization of each class's server", "below 1", (short, long))
    scv = long_share * (1 - long_share) * (stretch - 1) ** 2 / mean**2
    return (
        allen_cunneen_wait(utilization, 2, 1.0, scv) * mean,
        pollaczek_khinchine_wait(short, 0.0),
        pollaczek_khinchine_wait(long, 0.0) * stretch,
    )


def example() -> SimpleNamespace:
    """Answers to the exercises; waits in short service times."""
    rho, share, stretch = 0.7, 0.1, 9.0
    pooled, short, long = pooled_and_split_waits(rho, share, stretch)
    return SimpleNamespace(
        pool_limit_eight=max_pool_utilization(0.99, 10.0, 8),
        split_rho=rho,
        split_long_share=share,
        split_stretch=stretch,
        split_pooled=pooled,
        split_short=short,
        split_long=long,
        split_mean=(1 - share) * short + share * long,
    )


def check_log_against_a_stopwatch() -> None:
    """Both gauges of a random log agree with looking at the servers 20,000 times.

    Source: the definition, counted at random instants; the tolerance is three binomial standard
    errors.
    """
    rng = np.random.default_rng(41)
    starts = rng.uniform(-5, 60, 90)
    ends = starts + rng.exponential(1.5, 90)
    instants = rng.uniform(0, 50, 20_000)
    running = ((starts <= instants[:, None]) & (instants[:, None] < ends)).sum(axis=1)
    utilization, busy = busy_from_log(starts, ends, 8, 0.0, 50.0)
    seen = MeanEstimate(float(running.mean() / 8), float(running.std() / 8 / math.sqrt(20_000)), 0)
    checks.covers("utilization", seen, utilization)
    share = float((running > 0).mean())
    seen = MeanEstimate(share, math.sqrt(share * (1 - share) / 20_000), 0)
    checks.covers("any busy", seen, busy)


def check_log_against_theory() -> None:
    """The log of a simulated M/M/3 shows ρ = λS/c on one gauge and 1 − p_0 on the other.

    Source: utilization law and Erlang's p_0; mean and standard error over 60 independent runs.
    """
    rng, load, runs, n = np.random.default_rng(42), 1.2, 60, 1500
    arrivals = np.cumsum(rng.exponential(1 / load, (runs, n)), axis=1)
    services = rng.exponential(1.0, (runs, n))
    starts = arrivals + fifo_waits(arrivals, services, 3)
    gauges = np.array(
        [
            busy_from_log(start, start + service, 3, 100.0, 1000.0)
            for start, service in zip(starts, services, strict=True)
        ]
    )
    for label, column, expected in (("ρ", 0, load / 3), ("any busy", 1, any_busy(3, load))):
        values = gauges[:, column]
        error = float(values.std(ddof=1)) / math.sqrt(runs)
        checks.covers(label, MeanEstimate(float(values.mean()), error, 0), expected)


def check_pool_tail() -> None:
    """The tail of the M/M/4 response is that of simulated requests, and its integral is the mean.

    Source: simulation of 140,000 requests, batch means; E[T] = S + C·S/(c−a) by Erlang C.
    """
    rng, rho, servers = np.random.default_rng(43), 0.85, 4
    arrivals = np.cumsum(rng.exponential(1 / (rho * servers), 140_000))
    services = rng.exponential(1.0, 140_000)
    responses = (fast_waits(arrivals, services, servers) + services)[2000:]
    for slowdown in (1.0, 4.0):
        checks.covers(
            f"P(T > {slowdown:g} S)",
            batch_means(responses > slowdown),
            response_exceeds(slowdown, rho, servers),
        )
    grid = np.linspace(0, 80, 4_001)
    area = np.trapezoid([response_exceeds(t, rho, servers) for t in grid.tolist()], grid)
    mean = 1 + erlang_c(servers, rho * servers) / (servers * (1 - rho))
    checks.close("mean from the tail", float(area), mean, rtol=1e-5)


def check_pool_limit() -> None:
    """At its load limit a pool just meets the target, and one server's limit is the closed form.

    Source: the tail evaluated at the limit; 1 − ln(1/(1−q))/r for one server.
    """
    for servers in (2, 8, 40):
        limit = max_pool_utilization(0.95, 6.0, servers)
        checks.close(
            f"tail, {servers} servers", response_exceeds(6.0, limit, servers), 0.05, rtol=1e-9
        )
    checks.close(
        "one server", max_pool_utilization(0.9, 5.0, 1), max_utilization(0.9, 5.0), rtol=1e-12
    )


def check_separate_queues() -> None:
    """Kept apart, short requests wait less than half as long, and long ones pay for it.

    Source: simulation of 210,000 requests through one queue for two servers and through two queues
    of one; the pooled wait is an approximation, so it is allowed 4% beside the noise.
    """
    rho, share, stretch, n = 0.6, 0.08, 12.0, 210_000
    rng = np.random.default_rng(44)
    arrivals = np.cumsum(rng.exponential((1 - share + share * stretch) / (2 * rho), n))
    is_long = rng.random(n) < share
    services = np.where(is_long, stretch, 1.0)
    pooled, short, long = pooled_and_split_waits(rho, share, stretch)
    simulated = batch_means(fast_waits(arrivals, services, 2))
    noise = 3 * simulated.standard_error
    checks.close("one queue", simulated.mean, pooled, atol=noise, rtol=0.04, kind="simulation")
    lengths = np.repeat([1.0, stretch], [92, 8])
    scv = float(lengths.var() / lengths.mean() ** 2)
    formula = allen_cunneen_wait(rho, 2, 1.0, scv) * float(lengths.mean())
    checks.close("one queue, moments of a list", pooled, formula, rtol=1e-12)
    checks.holds(
        "2·short < pooled < long", 2 * short < pooled < long, got=(2 * short, pooled, long)
    )
    for label, members, expected in (("short", ~is_long, short), ("long", is_long, long)):
        estimate = batch_means(fifo_waits(arrivals[members], services[members]))
        checks.covers(label, estimate, expected)


def check_bad_input_is_refused() -> None:
    """Impossible logs, targets and classes are errors that name the argument."""
    log = ([0.0], [4.0], 1)
    checks.raises("empty window", busy_from_log, *log, 5.0, 5.0, match="window_end_s must be")
    checks.raises(
        "three at once on two servers",
        busy_from_log,
        [0.0] * 3,
        [1.0] * 3,
        2,
        0.0,
        1.0,
        match="busy time in the log must be within the servers' time",
    )
    checks.raises("negative slowdown", response_exceeds, -1.0, 0.5, 2, match="slowdown must be")
    checks.raises("target of an idle server", max_pool_utilization, 0.99, 4.6, 8, match="above 4.6")
    checks.raises(
        "short class alone saturates", pooled_and_split_waits, 0.8, 0.1, 2.0, match="below 1"
    )
