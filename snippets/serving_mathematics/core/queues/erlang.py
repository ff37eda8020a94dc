"""Waiting in M/M/1 and M/M/c: Erlang's formulas, the mean wait and its tail.

With arrival rate λ, mean service time S and c servers, ρ = λS/c and a = λS: P(W > 0) = C(c, a),
P(W > t) = C(c, a)·e^{−(c−a)t/S}. One server is the case C(1, ρ) = ρ, whose response time is
exponential with mean S/(1−ρ).

Assumes: Poisson arrivals, exponential service, unlimited first-come-first-served queue, nobody
leaves, steady state.

Source: Erlang (1917); Kleinrock (1975), chapter 3.
"""

from __future__ import annotations

import math

from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
)


def utilization(arrival_rate: float, mean_service_s: float, servers: int = 1) -> float:
    """Share of time a server is busy, ρ = λS/c, below 1 when the queue is stable.

    arrival_rate: λ [1/s]. mean_service_s: S [s]. servers: c.
    Raises ValueError on a negative rate, a non-positive time, or ρ ≥ 1.

    >>> utilization(arrival_rate=8.0, mean_service_s=0.5, servers=5)
    0.8
    """
    arrival_rate = require_non_negative(arrival_rate=arrival_rate)
    mean_service_s = require_positive(mean_service_s=mean_service_s)
    servers = require_positive_integer(servers=servers)
    rho = arrival_rate * mean_service_s / servers
    require(
        rho < 1,
        "utilization arrival_rate·mean_service_s/servers",
        "below 1 for a stable queue",
        rho,
    )
    return rho


def erlang_b(servers: int, offered_load: float) -> float:
    """Probability that an arrival finds all servers busy and is turned away, M/M/c/c.

    servers: c. offered_load: a = λS ≥ 0 [erlang], above c too, since nobody waits. Raises
    ValueError outside these ranges. The recursion B(k) = aB(k−1)/(k + aB(k−1)) from B(0) = 1 stays
    in [0, 1]. Exact for any distribution of service.

    >>> erlang_b(servers=2, offered_load=1.0)  # ½/(1 + 1 + ½)
    0.2
    """
    servers = require_positive_integer(servers=servers)
    servers = require_in("[1, 1e7]", servers=servers)
    offered_load = require_non_negative(offered_load=offered_load)
    blocking = 1.0
    for k in range(1, int(servers) + 1):
        blocking = offered_load * blocking / (k + offered_load * blocking)
    return blocking


def erlang_c(servers: int, offered_load: float) -> float:
    """Probability that an arrival has to wait in M/M/c.

    servers: c. offered_load: a = λS [erlang], in [0, c). Raises ValueError outside these ranges.
    From Erlang B, B/(1 − ρ + ρB), so c in the thousands does not overflow.

    >>> round(erlang_c(servers=2, offered_load=1.0), 12)
    0.333333333333
    """
    offered_load = as_number(offered_load=offered_load)
    servers = require_positive_integer(servers=servers)
    require(
        0 <= offered_load < servers,
        "offered_load",
        f"in [0, {servers}) for a stable queue",
        offered_load,
    )
    blocking, rho = erlang_b(servers, offered_load), offered_load / servers
    return blocking / (1 - rho + rho * blocking)


def mean_wait(arrival_rate: float, mean_service_s: float, servers: int = 1) -> float:
    """Mean time in queue W_q = C(c, a)·S/(c − a) of M/M/c [s].

    Arguments and errors as for `utilization`.

    >>> round(mean_wait(arrival_rate=0.8, mean_service_s=1.0), 12)
    4.0
    """
    mean_service_s, servers = as_number(mean_service_s=mean_service_s, servers=servers)
    rho = utilization(arrival_rate, mean_service_s, servers)
    return erlang_c(servers, rho * servers) * mean_service_s / (servers * (1 - rho))


def wait_exceeds(
    threshold_s: float, arrival_rate: float, mean_service_s: float, servers: int = 1
) -> float:
    """P(W > t) = C(c, a)·e^{−(c − a)t/S} in M/M/c.

    threshold_s: t ≥ 0 [s]. Other arguments and errors as for `utilization`.

    >>> round(wait_exceeds(0.0, arrival_rate=0.8, mean_service_s=1.0), 12)
    0.8
    """
    servers = as_number(servers=servers)
    threshold_s = require_non_negative(threshold_s=threshold_s)
    rho = utilization(arrival_rate, mean_service_s, servers)
    return erlang_c(servers, rho * servers) * math.exp(
        -servers * (1 - rho) * threshold_s / mean_service_s
    )


def response_quantile(probability: float, arrival_rate: float, mean_service_s: float) -> float:
    """Quantile of the response time (wait and service) of M/M/1, −ln(1−q)·S/(1−ρ) [s].

    probability: q in [0, 1), for example 0.99. Other arguments and errors as for `utilization`.

    >>> round(response_quantile(0.99, arrival_rate=0.8, mean_service_s=1.0), 5)
    23.02585
    """
    probability = require_in("[0, 1)", probability=probability)
    mean_service_s = require_positive(mean_service_s=mean_service_s)
    return (
        -math.log1p(-probability) * mean_service_s / (1 - utilization(arrival_rate, mean_service_s))
    )


def max_utilization(probability: float, slowdown: float) -> float:
    """Highest ρ at which the M/M/1 response quantile stays within `slowdown` mean service times.

    probability: q in (0, 1). slowdown: allowed quantile over S, above −ln(1−q), below which even an
    idle server fails. Returns 1 − ln(1/(1−q))/slowdown. Raises ValueError outside these ranges.

    >>> round(max_utilization(probability=0.99, slowdown=10.0), 7)
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
    return 1 - idle / slowdown
