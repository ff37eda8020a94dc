"""Goodput collapses under overload when a queue has no limit, and a short queue keeps it at
capacity.

A request is worth something only when its answer arrives within the client's deadline τ. A
first-come-first-served server with an unlimited queue answers λ(1−e^{−(μ−λ)τ}) requests a second
in time, a quantity that peaks where e^{(μ−λ)τ} = 1 + λτ and is zero from λ = μ on: the server is
busy with answers that nobody waits for (dead work). With room for K requests, the excess is
refused with probability (1−ρ)ρ^K/(1−ρ^{K+1}), an admitted request that finds j others takes an
Erlang(j+1, μ) time, and goodput stays near μ however large λ grows.

Assumes: Poisson arrivals, exponential service at one server, one deadline for all, late work is
done to the end.

Source: Kleinrock (1975), chapter 3, for M/M/1 and the finite queue M/M/1/K; goodput as the measure
of overload: Yanacek, in the Amazon Builders' Library.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.queues.queue_simulator import batch_means, fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require_positive,
    require_positive_integer,
    require_work,
)

SERVICE_RATE = 100.0  # μ of the worked numbers [1/s]: 10 ms a request
DEADLINE_S = 0.1  # τ of the worked numbers [s]: ten service times


def fifo_goodput(arrival_rate: float, service_rate: float, deadline_s: float) -> float:
    """Answers a second within the deadline from an unlimited first-come-first-served queue, in the
    long run.

    arrival_rate: λ [1/s], above 0; from μ on the queue grows without end and the result is 0.
    service_rate: μ [1/s]. deadline_s: τ [s], above 0, from arrival to answer. Raises ValueError
    outside these ranges.

    >>> round(fifo_goodput(arrival_rate=80.0, service_rate=100.0, deadline_s=0.1), 3)
    69.173
    """
    arrival_rate, service_rate, deadline_s = require_positive(
        arrival_rate=arrival_rate, service_rate=service_rate, deadline_s=deadline_s
    )
    return -arrival_rate * math.expm1(-max(0.0, service_rate - arrival_rate) * deadline_s)


def bounded_goodput(
    arrival_rate: float, service_rate: float, deadline_s: float, capacity: int
) -> float:
    """Answers a second within the deadline from M/M/1/K, which refuses what finds K requests
    inside.

    arrival_rate: λ [1/s]. service_rate: μ [1/s]. deadline_s: τ [s]. capacity: K, the request in
    service included. Sums λ·π_j·P(Erlang(j+1, μ) ≤ τ) over the numbers j < K that an admitted
    request may find. Raises ValueError unless all are positive and finite and K is an integer.

    >>> round(bounded_goodput(200.0, service_rate=100.0, deadline_s=0.1, capacity=5), 3)
    96.626
    """
    arrival_rate, service_rate, deadline_s = require_positive(
        arrival_rate=arrival_rate, service_rate=service_rate, deadline_s=deadline_s
    )
    capacity = require_positive_integer(capacity=capacity)
    require_work(capacity, capacity=capacity)
    found = np.arange(int(capacity))
    log_factorial = np.cumsum(np.log(np.maximum(found, 1)))
    served = service_rate * deadline_s  # requests that a busy server finishes within τ, on average
    late = np.cumsum(np.exp(found * math.log(served) - served - log_factorial))
    log_weight = np.arange(int(capacity) + 1) * math.log(arrival_rate / service_rate)
    weight = np.exp(log_weight - log_weight.max())
    return arrival_rate * float(weight[:-1] @ (1 - late)) / float(weight.sum())


def example() -> SimpleNamespace:
    """Numbers quoted in the text: μ = 100/s, τ = 0.1 s."""
    return SimpleNamespace(
        goodput_at_95=fifo_goodput(95.0, SERVICE_RATE, DEADLINE_S),
        bounded_at_95=bounded_goodput(95.0, SERVICE_RATE, DEADLINE_S, 6),
    )


def check_fifo_goodput() -> None:
    """At 80 requests a second, 69 are answered in time, and at 95 only 37: more load, half the
    answers.

    Source: λ(1 − e^{−(μ−λ)τ}) by hand, e^{−2} and e^{−1/2}; simulated queues of 140,000 requests.
    """
    checks.close("λ = 80", fifo_goodput(80.0, 100.0, 0.1), 69.173, atol=5e-4)
    checks.close("λ = 95", fifo_goodput(95.0, 100.0, 0.1), 37.380, atol=5e-4)
    checks.close("λ = μ", fifo_goodput(100.0, 100.0, 0.1), 0.0)
    rng = np.random.default_rng(1)
    arrivals, services = np.cumsum(rng.exponential(1 / 80, 140_000)), rng.exponential(0.01, 140_000)
    in_time = fifo_waits(arrivals, services) + services <= 0.1
    share = batch_means(in_time[14_000:].astype(float))
    checks.covers("λ = 80, simulated: share", share, fifo_goodput(80.0, 100.0, 0.1) / 80)


def check_half_of_what_is_served_in_time() -> None:
    """Room for half of what a server finishes within the promise, including the request in service,
    keeps nine tenths or more of what the best room keeps, if it finishes six or more.

    Source: the closed form, every room up to all that is served within the promise.
    """
    for served in (6, 10, 20, 40, 100):
        for load in (0.8, 1.0, 1.2, 2.0, 4.0):
            kept = [bounded_goodput(load, 1.0, float(served), room + 1) for room in range(served)]
            checks.inside(
                f"{served} served in time, load {load}: half over the best",
                kept[served // 2 - 1] / max(kept),
                0.9,
                1.0,
            )
