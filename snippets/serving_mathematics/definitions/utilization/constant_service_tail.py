"""With constant service the whole distribution of the wait is exact, not only its mean.

A model with a fixed input shape takes the same time D for every request. With Poisson arrivals and
one server a wait of at most t, kD − u with 0 < u ≤ D, means that all but the newest are done:

    P(W ≤ t) = e^{−λu}·Σ_{j<k} Q_{k−1−j}·(λu)^j/j!,

with Q_m the probability of at most m in the queue. All terms are positive, where the older formula
alternates in sign and loses all digits at long waits. The tail falls like e^{−θt/D} with the root
of θ = ρ(e^θ − 1).

Assumes: Poisson arrivals, one first-come-first-served server, ρ < 1.

Source: Franx (2001) for the distribution, here with one server; Erlang (1909) for the alternating
form, which the checks use at short waits.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.erlang import max_utilization, wait_exceeds
from serving_mathematics.core.queues.queue_simulator import batch_means, fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.require import require, require_in, require_non_negative

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]


def _in_queue(utilization: float, most: int) -> FloatArray:
    """P(at most m wait, the one in service not counted), m = 0 … `most`, in M/D/1."""
    arrivals = np.exp(
        np.arange(most + 3) * math.log(utilization)
        - utilization
        - np.array([math.lgamma(k + 1) for k in range(most + 3)])
    )
    more = np.maximum(1 - np.cumsum(arrivals), 0.0)  # P(A > n) in one service
    present = np.empty(most + 2)  # probability of n in the system
    present[0] = 1 - utilization
    for n in range(most + 1):
        flow = present[0] * more[n] + float(present[1 : n + 1] @ more[n:0:-1])
        present[n + 1] = flow / arrivals[0]
    return np.asarray(np.cumsum(present)[1:])


def constant_wait_exceeds(threshold: float, utilization: float) -> float:
    """P(W > t) of M/D/1: one server, Poisson arrivals, constant service.

    threshold: t ≥ 0 [service times]. utilization: ρ in [0, 1). Raises ValueError outside these
    ranges. A probability below about 1e-12 is rounding noise.

    >>> round(constant_wait_exceeds(0.0, utilization=0.8), 12)
    0.8
    """
    threshold = require_non_negative(threshold=threshold)
    require(threshold <= 1e4, "threshold", "at most 10,000 services", threshold)
    utilization = require_in("[0, 1)", utilization=utilization)
    if utilization == 0:
        return 0.0
    k = math.floor(threshold) + 1
    until = utilization * (k - threshold)  # λu
    j = np.arange(k)
    logs = j * math.log(until) - until - np.array([math.lgamma(i + 1) for i in range(k)])
    return max(0.0, 1 - float(np.exp(logs) @ _in_queue(utilization, k - 1)[::-1]))


def max_constant_utilization(probability: float, slowdown: float) -> float:
    """Highest ρ at which the M/D/1 response quantile stays within `slowdown` service times.

    probability: q in (0, 1). slowdown: r > 1, allowed quantile of wait and service. The tail rises
    with ρ: bisection to 1e-9. Raises ValueError outside these ranges.

    >>> round(max_constant_utilization(probability=0.99, slowdown=10.0), 3)
    0.773
    """
    probability = require_in("(0, 1)", probability=probability)
    slowdown = require_in("(1, 1e4]", slowdown=slowdown)
    low, high = 0.0, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        if constant_wait_exceeds(slowdown - 1, middle) > 1 - probability:
            high = middle
        else:
            low = middle
    return low


def example() -> SimpleNamespace:
    """Load limits for 99% of the responses within ten service times, and a tail."""
    return SimpleNamespace(
        constant_limit=max_constant_utilization(0.99, 10.0),
        constant_late=constant_wait_exceeds(9.0, 0.8),
        exponential_late=wait_exceeds(9.0, 0.8, 1.0),
    )


def figure_wait_tails(figure: Figure) -> None:
    """Constant service does not only halve the mean wait; long waits become far rarer.

    Probability that a request waits longer than t. Lines are exact; points are simulations of
    140,000 requests of constant service.

    Alt: Share of requests on a logarithmic axis against the wait from 0 to 20 service times. For a
    utilization of 0.8 the line of exponential service falls from 0.8 to 0.015, that of constant
    service to 0.0002. At 0.5 both start at 0.5, and constant service reaches one in a thousand at 5
    service times where exponential service takes 12. Points lie on the lines of constant service.
    """
    axes = figure.subplots()
    times = np.linspace(0, 20, 101)
    rng = np.random.default_rng(91)
    for rho, colour in ((0.8, "C3"), (0.5, "C0")):
        exact = [constant_wait_exceeds(float(t), rho) for t in times]
        axes.semilogy(times, exact, color=colour)
        axes.semilogy(times, [wait_exceeds(float(t), rho, 1.0) for t in times], "--", color=colour)
        waits = fifo_waits(np.cumsum(rng.exponential(1 / rho, 140_000)), np.ones(140_000))
        for t in (2.0, 5.0, 10.0):
            share = float((waits > t).mean())
            if share > 3e-4:
                axes.semilogy(t, share, "o", color=colour, markersize=5)
    for text, spot, colour in (
        ("ρ = 0.8, exponential", (11.5, 0.11), "C3"),
        ("ρ = 0.8, constant", (13.2, 3.2e-3), "C3"),
        ("ρ = 0.5, exponential", (7.2, 4e-4), "C0"),
        ("ρ = 0.5, constant", (0.6, 4e-4), "C0"),
    ):
        axes.annotate(text, spot, color=colour)
    axes.set(xlim=(0, 20), ylim=(1e-4, 1), xlabel="wait t [service times]", ylabel="P(W > t)")


def check_alternating_form() -> None:
    """At short waits the positive sum is the alternating one, and P(W > 0) is ρ.

    Source: (1−ρ)·Σ_k (ρ(k−t))^k/k!·e^{−ρ(k−t)} over k ≤ t, exact up to its cancellation.
    """
    for rho in (0.2, 0.5, 0.9):
        for t in (0.0, 0.5, 1.0, 2.5, 6.0):
            terms = [
                (rho * (k - t)) ** k / math.factorial(k) * math.exp(-rho * (k - t))
                for k in range(math.floor(t) + 1)
            ]
            old = 1 - (1 - rho) * math.fsum(terms)
            label = f"ρ = {rho:g}, t = {t:g}"
            checks.close(label, constant_wait_exceeds(t, rho), old, atol=1e-10)


def check_mean_and_decay() -> None:
    """The tail integrates to ρ/(2(1−ρ)), and falls by e^{−θ} in a service time.

    Source: Pollaczek–Khinchine mean; the root of θ = ρ(e^θ − 1) by bisection.
    """
    for rho in (0.3, 0.8):
        grid = (np.arange(400) + 0.5) / 10
        area = sum(constant_wait_exceeds(float(t), rho) for t in grid) / 10
        checks.close(f"mean, ρ = {rho:g}", area, rho / (2 * (1 - rho)), rtol=1e-3)
        low, high = 1e-9, 20.0
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if middle > rho * math.expm1(middle) else (low, middle)
        ratio = constant_wait_exceeds(9.0, rho) / constant_wait_exceeds(8.0, rho)
        checks.close(f"decay, ρ = {rho:g}", ratio, math.exp(-low), rtol=1e-3)


def check_simulated_tail() -> None:
    """Of simulated requests of constant service as many wait longer than t as the sum says.

    Source: 400,000 requests at ρ = 0.8, with standard errors of batch means.
    """
    rng = np.random.default_rng(92)
    waits = fifo_waits(np.cumsum(rng.exponential(1 / 0.8, 400_000)), np.ones(400_000))
    for t in (0.0, 1.0, 3.5, 9.0):
        late = batch_means((waits > t).astype(float))
        checks.covers(f"P(W > {t:g})", late, constant_wait_exceeds(t, 0.8))


def check_limit_against_exponential() -> None:
    """For 99% within ten service times constant service allows 77% where exponential allows 54%.

    Source: the tail at the limit; `max_utilization` of M/M/1.
    """
    limit = max_constant_utilization(0.99, 10.0)
    checks.close("tail at the limit", constant_wait_exceeds(9.0, limit), 0.01, rtol=1e-6)
    checks.close("constant", limit, 0.7735, atol=5e-5)
    checks.holds("more than exponential", limit > max_utilization(0.99, 10.0), got=limit)


def check_bad_input_is_refused() -> None:
    """Saturation, negative waits and targets below one service are refused by name."""
    checks.raises("ρ = 1", constant_wait_exceeds, 1.0, 1.0, match="utilization must be in [0, 1)")
    checks.raises("t < 0", constant_wait_exceeds, -1.0, 0.5, match="threshold must be non-negative")
    checks.raises("r = 1", max_constant_utilization, 0.9, 1.0, match="slowdown must be in (1, 1e4]")
