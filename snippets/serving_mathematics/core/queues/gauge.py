"""A gauge of "at least one kernel ran" saturates at a few erlangs, whatever the capacity.

A device with c slots that works whenever at least one slot is taken shows g = 1 − p_0. With
Poisson arrivals p_0 is near e^{−a}, so the gauge follows the offered load a and not ρ = a/c.

Assumes: Poisson arrivals, exponential service, one first-come-first-served queue, steady state;
without a queue (free slots for all) p_0 = e^{−a} for any distribution of service times.

Source: NVIDIA, NVML API reference, nvmlUtilization_t, for what the gauge shows; Erlang (1917) for
p_0.
"""

from __future__ import annotations

import math

import numpy as np

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_positive_integer,
)


def any_busy(servers: int, offered_load: float) -> float:
    """Share of time at which at least one server of M/M/c is busy, 1 − p_0.

    servers: c. offered_load: a = λS [erlang], in [0, c). Raises ValueError outside these ranges.
    The terms a^k/k! are added on a logarithmic scale, so c in the thousands does not overflow.

    >>> round(any_busy(servers=1, offered_load=0.8), 12)
    0.8
    >>> round(any_busy(servers=2, offered_load=1.0), 12)
    0.666666666667
    """
    offered_load = as_number(offered_load=offered_load)
    servers = require_positive_integer(servers=servers)
    servers = require_in("[1, 1e7]", servers=servers)
    require(
        0 <= offered_load < servers,
        "offered_load",
        f"in [0, {servers}) for a stable queue",
        offered_load,
    )
    if offered_load == 0:
        return 0.0
    logs = np.cumsum(np.log(offered_load / np.arange(1, servers + 1)))  # ln a^k/k!, k = 1 … c
    logs[-1] -= math.log1p(-offered_load / servers)  # all states from c on
    peak = max(float(logs.max()), 0.0)
    busy = float(np.exp(logs - peak).sum())
    return busy / (busy + math.exp(-peak))


def check_gauge_of_one_server() -> None:
    """With one server the gauge is ρ, and with two it is 2ρ/(1+ρ).

    Source: balance equations of M/M/1 and M/M/2 by hand, p_0 = 1−ρ and (1−ρ)/(1+ρ).
    """
    rho = np.linspace(0.05, 0.95, 19)
    checks.close("c = 1", [any_busy(1, r) for r in rho], rho, rtol=1e-13)
    checks.close("c = 2", [any_busy(2, 2 * r) for r in rho], 2 * rho / (1 + rho), rtol=1e-13)


def check_gauge_saturates() -> None:
    """64 slots at 10% utilization keep the gauge at 99.8%, as the balance equations say.

    Source: stationary distribution of the birth–death chain, cut off at 400 requests and solved.
    """
    slots, load, states = 64, 6.4, 400
    up, down = np.full(states - 1, load), np.minimum(np.arange(1, states), slots)
    generator = np.diag(up, 1) + np.diag(down, -1)
    balance = (generator - np.diag(generator.sum(axis=1))).T
    balance[-1] = 1.0
    empty = float(np.linalg.solve(balance, np.eye(states)[-1])[0])
    checks.close("share of time with any busy", any_busy(slots, load), 1 - empty, rtol=1e-12)
    checks.close("slots without end", any_busy(slots, load), 1 - math.exp(-load), atol=1e-12)
