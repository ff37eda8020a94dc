"""Two numbers, C_a² and C_s², give the wait to a few percent near saturation, and to 100% far off.

Every formula here is a mean wait W_q in mean service times. With Poisson arrivals one server is
exact: W_q = ρ/(1−ρ)·(1+C_s²)/2. Replacing the 1 by C_a² (VUT) or scaling the M/M/c wait
(Allen–Cunneen) is an approximation; Kingman's (C_a²/ρ + ρC_s²)/(2(1−ρ)) is a bound. How good they
are is measured against a queue with an exact answer, gamma arrivals with exponential service.

Assumes: independent interarrival times and service times, one first-come-first-served queue, nobody
leaves, steady state.

Source: Pollaczek (1930); Kingman (1961, 1962); Allen (1990); Kendall (1953) for gamma arrivals.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.queues.queue_simulator import simulate_mean_wait
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

NEWTON_STEPS = 60  # a step halves the distance far from the root and doubles the digits near it


def pollaczek_khinchine_wait(utilization: float, service_scv: float) -> float:
    """Exact mean wait of M/G/1, ρ/(1−ρ)·(1 + C_s²)/2 [mean service times].

    utilization: ρ in [0, 1). service_scv: C_s² ≥ 0. Raises ValueError outside these ranges.

    >>> round(pollaczek_khinchine_wait(0.8, service_scv=0.0), 12)
    2.0
    """
    utilization = require_in("[0, 1)", utilization=utilization)
    service_scv = require_non_negative(service_scv=service_scv)
    return utilization / (1 - utilization) * (1 + service_scv) / 2


def vut_wait(utilization: float, arrival_scv: float, service_scv: float) -> float:
    """Approximate mean wait of G/G/1, ρ/(1−ρ)·(C_a² + C_s²)/2 [mean service times].

    utilization: ρ in [0, 1). arrival_scv, service_scv: C_a², C_s² ≥ 0.
    Raises ValueError outside these ranges. Not a bound: it can be below the exact mean.
    Source: heavy-traffic limit of Kingman (1961).

    >>> round(vut_wait(0.8, arrival_scv=4.0, service_scv=1.0), 12)
    10.0
    """
    utilization = require_in("[0, 1)", utilization=utilization)
    arrival_scv, service_scv = require_non_negative(
        arrival_scv=arrival_scv, service_scv=service_scv
    )
    return utilization / (1 - utilization) * (arrival_scv + service_scv) / 2


def kingman_bound(
    arrival_rate: float, mean_service_s: float, arrival_sd_s: float, service_sd_s: float
) -> float:
    """Upper bound on the mean wait of G/G/1, λ(σ_a² + σ_s²)/(2(1−ρ)) [s].

    arrival_rate: λ > 0 [1/s]. mean_service_s: S > 0 [s], with ρ = λS < 1. arrival_sd_s,
    service_sd_s: standard deviations of interarrival and service times [s].
    Raises ValueError outside these ranges.
    Source: Kingman (1962).

    >>> round(kingman_bound(0.8, 1.0, arrival_sd_s=2.5, service_sd_s=1.0), 12)
    14.5
    """
    arrival_rate, mean_service_s = require_positive(
        arrival_rate=arrival_rate, mean_service_s=mean_service_s
    )
    arrival_sd_s, service_sd_s = require_non_negative(
        arrival_sd_s=arrival_sd_s, service_sd_s=service_sd_s
    )
    rho = arrival_rate * mean_service_s
    require(rho < 1, "utilization arrival_rate·mean_service_s", "below 1", rho)
    return arrival_rate * math.hypot(arrival_sd_s, service_sd_s) ** 2 / (2 * (1 - rho))


def _beyond_log(x: float) -> float:
    """x − ln(1 + x), for x ≥ 0, without a difference of nearly equal numbers."""
    if x < 0.02:
        return math.fsum((-1) ** k * x**k / k for k in range(2, 11))
    return x - math.log1p(x)


def _beyond_exp(x: float) -> float:
    """x − 1 + e^(−x), for x ≥ 0, in the same way."""
    if x < 0.02:
        return math.fsum((-x) ** k / math.factorial(k) for k in range(2, 9))
    return x + math.expm1(-x)


def gamma_arrivals_wait(utilization: float, arrival_scv: float) -> float:
    """Exact mean wait with gamma interarrival times and exponential service, one server.

    utilization: ρ in (0, 1). arrival_scv: C_a² ≥ 0, the inverse of the gamma shape; 0 gives
    constant gaps. Returns σ/(1−σ) [mean service times], where 1−σ is found by Newton's method,
    which from 1 falls to the root because the function is convex. Raises ValueError outside these
    ranges.
    Source: Kendall (1953); σ = A*(1−σ) with the transform A* of the interarrival time.

    >>> round(gamma_arrivals_wait(0.8, arrival_scv=1.0), 12)
    4.0
    """
    utilization = require_in("(0, 1)", utilization=utilization)
    arrival_scv = require_non_negative(arrival_scv=arrival_scv)
    require(arrival_scv <= 1e6, "arrival_scv", "at most a million", arrival_scv)
    spare = (1 - utilization) / utilization
    gap = 1 + spare
    free = 1.0  # 1 − σ
    for _ in range(NEWTON_STEPS):
        stretch = gap * arrival_scv * free
        bent, power = 0.0, gap * free  # of e, which is the transform; bent: by how much it is less
        if arrival_scv > 1e-12:  # below, it is that to twelve digits
            bent, power = _beyond_log(stretch) / arrival_scv, math.log1p(stretch) / arrival_scv
        slope = -math.expm1(math.log1p(spare) - power - math.log1p(stretch))
        miss = free + math.expm1(-power)
        if gap * free < 0.5:
            miss = bent + _beyond_exp(power) - spare * free  # the same, without its difference
        free -= miss / slope
    return (1 - free) / free


def allen_cunneen_wait(
    utilization: float, servers: int, arrival_scv: float, service_scv: float
) -> float:
    """Approximate mean wait of G/G/c: the M/M/c wait times (C_a² + C_s²)/2 [mean service times].

    utilization: ρ in [0, 1). servers: c. arrival_scv, service_scv: C_a², C_s² ≥ 0.
    Raises ValueError outside these ranges.
    Source: Allen (1990).

    >>> round(allen_cunneen_wait(0.5, servers=2, arrival_scv=1.0, service_scv=1.0), 12)
    0.333333333333
    """
    utilization = require_in("[0, 1)", utilization=utilization)
    servers = require_positive_integer(servers=servers)
    servers = require_in("[1, 1e7]", servers=servers)
    arrival_scv, service_scv = require_non_negative(
        arrival_scv=arrival_scv, service_scv=service_scv
    )
    load, blocking = utilization * servers, 1.0
    for k in range(1, int(servers) + 1):
        blocking = load * blocking / (k + load * blocking)
    waiting = blocking / (1 - utilization + utilization * blocking)  # Erlang C
    return waiting / (servers * (1 - utilization)) * (arrival_scv + service_scv) / 2


def example() -> SimpleNamespace:
    """Waits with bursty arrivals at 80%: exact, approximate, and the bound [mean service times]."""
    return SimpleNamespace(
        gamma_wait=gamma_arrivals_wait(0.8, 4.0),
        gamma_vut=vut_wait(0.8, 4.0, 1.0),
        gamma_bound=kingman_bound(0.8, 1.0, math.sqrt(4.0) / 0.8, 1.0),
    )


def _arrival_chain_wait(utilization: float, arrival_scv: float, states: int) -> float:
    """Mean wait of gamma/M/1 from the chain of the number found by arrivals, cut off at `states`.

    The services completed between two arrivals are negative binomial.
    """
    shape = 1 / arrival_scv
    rate = shape * utilization
    n = np.arange(states)
    served = (rate / (1 + rate)) ** shape * np.cumprod(
        np.r_[1.0, (n[:-1] + shape) / (n[1:] * (1 + rate))]
    )
    chain = np.zeros((states, states))
    for i in range(states):
        up = min(i + 1, states - 1)
        chain[i, 1 : up + 1] = served[up - 1 :: -1] if up == i + 1 else served[up:0:-1]
        chain[i, 0] = 1 - chain[i].sum()
    balance = (chain - np.eye(states)).T
    balance[0] = 1.0
    return float(np.linalg.solve(balance, np.eye(states)[0]) @ n)


def check_gamma_arrivals() -> None:
    """Bursty arrivals (gamma, shape 0.25) at ρ = 0.8 wait 10.96 service times; VUT says 10.

    Source: the chain of the number found by arrivals, truncated at 400 states; the simulator.
    """
    exact = gamma_arrivals_wait(0.8, 4.0)
    checks.close("W_q", exact, 10.95522756, atol=5e-9)
    checks.close("truncated chain", exact, _arrival_chain_wait(0.8, 4.0, 400), rtol=1e-9)
    simulated = simulate_mean_wait(
        np.random.default_rng(32), 0.8, arrival_scv=4.0, customers=700_000
    )
    checks.covers("simulated", simulated, exact)
    checks.close("VUT", vut_wait(0.8, 4.0, 1.0), 10.0, rtol=1e-12)


def check_kingman_bound_holds_where_vut_fails() -> None:
    """Kingman's bound of 1962 is never below the exact wait; the VUT formula is, for bursts.

    Source: exact gamma/M/1 and M/G/1 means over ρ and variability; simulated gamma/gamma/1.
    """
    checks.close("bound at ρ = 0.8, C_a² = 4", kingman_bound(0.8, 1.0, 2.5, 1.0), 14.5, rtol=1e-12)
    rho = np.linspace(0.05, 0.99, 20).tolist()
    scvs = (0.0, 0.1, 0.5, 1.0, 2.0, 4.0, 20.0)
    arrivals = [
        kingman_bound(r, 1.0, math.sqrt(v) / r, 1.0) / gamma_arrivals_wait(r, v)
        for r in rho
        for v in scvs
    ]
    services = [
        kingman_bound(r, 1.0, 1 / r, math.sqrt(v)) / pollaczek_khinchine_wait(r, v)
        for r in rho
        for v in scvs
    ]
    checks.holds("bound ≥ exact, gamma/M/1", min(arrivals) >= 1, got=min(arrivals))
    checks.holds("bound ≥ exact, M/G/1", min(services) >= 1, got=min(services))
    ratio = vut_wait(0.8, 4.0, 1.0) / gamma_arrivals_wait(0.8, 4.0)
    checks.holds("VUT < exact at ρ = 0.8, C_a² = 4", ratio < 1, got=ratio)
    rng = np.random.default_rng(33)
    for r, ca2, cs2 in ((0.3, 4.0, 4.0), (0.7, 0.2, 3.0), (0.9, 2.0, 0.5)):
        run = simulate_mean_wait(rng, r, arrival_scv=ca2, service_scv=cs2, customers=140_000)
        bound = kingman_bound(r, 1.0, math.sqrt(ca2) / r, math.sqrt(cs2))
        low = run.mean - 3 * run.standard_error
        checks.inside(
            f"simulated, ρ = {r}, C_a² = {ca2}, C_s² = {cs2}", low, 0.0, bound, kind="simulation"
        )


def check_constant_service_waits_half() -> None:
    """Constant service waits half as long as exponential service: two service times at ρ = 0.8.

    Source: Pollaczek–Khinchine by hand, 0.8/0.2/2.
    """
    checks.close("wait", pollaczek_khinchine_wait(0.8, 0.0), 2.0, rtol=1e-12)


def check_approximations_meet_where_they_are_exact() -> None:
    """With one server and Poisson arrivals all formulas are Pollaczek–Khinchine's.

    Source: setting c = 1 and C_a² = 1.
    """
    rho = np.linspace(0.05, 0.95, 10).tolist()
    exact = [pollaczek_khinchine_wait(r, 3.0) for r in rho]
    checks.close("VUT", [vut_wait(r, 1.0, 3.0) for r in rho], exact, rtol=1e-12)
    checks.close(
        "Allen–Cunneen", [allen_cunneen_wait(r, 1, 1.0, 3.0) for r in rho], exact, rtol=1e-12
    )
    checks.close(
        "gamma/M/1 at C_a² = 1",
        [gamma_arrivals_wait(r, 1.0) for r in rho],
        [r / (1 - r) for r in rho],
        rtol=1e-12,
    )
