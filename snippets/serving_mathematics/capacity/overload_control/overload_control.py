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
from collections import deque
from fractions import Fraction
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate, batch_means, fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_positive,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SERVICE_RATE = 100.0  # μ of the worked numbers [1/s]: 10 ms a request
DEADLINE_S = 0.1  # τ of the worked numbers [s]: ten service times


def blocking_probability(arrival_rate: float, service_rate: float, capacity: int) -> float:
    """Probability that an arrival finds all K places of M/M/1/K taken and is refused.

    arrival_rate: λ [1/s], above 0. service_rate: μ [1/s]. capacity: K, the request in service
    included. The recursion B_k = ρB_{k−1}/(1 + ρB_{k−1}) from B_0 = 1 needs no case for ρ = 1 and
    cannot overflow. Raises ValueError on a rate that is not positive or a capacity that is not a
    positive integer.

    >>> blocking_probability(arrival_rate=1.0, service_rate=1.0, capacity=4)
    0.2
    """
    arrival_rate, service_rate = require_positive(
        arrival_rate=arrival_rate, service_rate=service_rate
    )
    capacity = require_positive_integer(capacity=capacity)
    capacity = require_in("[1, 1e7]", capacity=capacity)
    blocking = 1.0
    for _ in range(int(capacity)):
        offered = arrival_rate / service_rate * blocking
        blocking = offered / (1 + offered)
    return blocking


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


def peak_load(service_rate: float, deadline_s: float) -> float:
    """Arrival rate at which `fifo_goodput` is largest [1/s]: beyond it, more demand means fewer
    answers in time.

    The root x = λτ of μτ − x = ln(1 + x), by Newton's method from 0, which rises to it without
    overshooting. service_rate: μ [1/s]. deadline_s: τ [s]. Raises ValueError unless both are
    positive and finite. Source: derivative of the goodput set to 0; the same as x = W(e^{μτ+1}) −
    1 with Lambert's W.

    >>> round(peak_load(service_rate=100.0, deadline_s=0.1), 3)
    78.227
    """
    service_rate, deadline_s = require_positive(service_rate=service_rate, deadline_s=deadline_s)
    x = 0.0
    for _ in range(50):
        x += (service_rate * deadline_s - x - math.log1p(x)) * (1 + x) / (2 + x)
    return x / deadline_s


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


def best_capacity(arrival_rate: float, service_rate: float, deadline_s: float) -> int:
    """The number of places K that answers most requests in time at a load that is known.

    Arguments and errors as for `fifo_goodput`. A place is worth adding while the requests that it
    saves from refusal outnumber those that it makes late; beyond μτ + 10√(μτ) + 10 places an
    admitted last one is always late. Of numbers that differ by less than a billionth of the answers
    it is the smallest.

    >>> best_capacity(arrival_rate=200.0, service_rate=100.0, deadline_s=0.1)
    5
    """
    service_rate, deadline_s = require_positive(service_rate=service_rate, deadline_s=deadline_s)
    served = service_rate * deadline_s
    most = 1e4 / service_rate
    require(served <= 1e4, "deadline_s", f"at most {most:g}, ten thousand services", deadline_s)
    places = range(1, int(served + 10 * math.sqrt(served)) + 11)
    goodput = np.array([bounded_goodput(arrival_rate, service_rate, deadline_s, k) for k in places])
    return 1 + int(np.argmax(goodput >= goodput.max() * (1 - 1e-9)))


def simulate_goodput(
    rng: np.random.Generator,
    arrival_rate: float,
    service_rate: float,
    deadline_s: float,
    *,
    capacity: int | None = None,
    newest_first: bool = False,
    skip_expired: bool = False,
    customers: int = 40_000,
) -> MeanEstimate:
    """Answers a second within the deadline from a simulated single server, with the standard error
    of batch means.

    arrival_rate: λ [1/s]. service_rate: μ [1/s]. deadline_s: τ [s]. capacity: places, no limit by
    default. newest_first: serve the youngest waiting request next (LIFO). skip_expired: drop what
    has waited τ when its turn comes, at no cost. customers: length of the run; its first tenth is
    discarded. Raises ValueError on bad input.
    """
    customers = as_number(customers=customers)
    arrival_rate, service_rate, deadline_s = require_positive(
        arrival_rate=arrival_rate, service_rate=service_rate, deadline_s=deadline_s
    )
    whole = capacity is None or (1 <= capacity < math.inf and capacity % 1 == 0)
    require(whole, "capacity", "None or a positive integer", capacity)
    enough = 1000 <= customers < math.inf and customers % 1 == 0
    require(enough, "customers", "an integer of at least 1000", customers)
    require_work(customers, customers=customers)
    arrivals = np.cumsum(rng.exponential(1 / arrival_rate, customers)).tolist()
    services = rng.exponential(1 / service_rate, customers).tolist()
    in_time = np.zeros(customers)
    waiting: deque[int] = deque()
    free_at = 0.0
    for arriving, now in enumerate([*arrivals, math.inf]):
        while waiting and free_at <= now:
            turn = waiting.pop() if newest_first else waiting.popleft()
            if skip_expired and free_at - arrivals[turn] >= deadline_s:
                continue
            free_at += services[turn]
            in_time[turn] = free_at - arrivals[turn] <= deadline_s
        if arriving == customers:
            break
        if free_at <= now:
            free_at = now + services[arriving]
            in_time[arriving] = services[arriving] <= deadline_s
        elif capacity is None or len(waiting) + 1 < capacity:
            waiting.append(arriving)
    share = batch_means(in_time[customers // 10 :])
    return MeanEstimate(
        *(arrival_rate * x for x in (share.mean, share.standard_error, share.half_width))
    )


def example() -> SimpleNamespace:
    """Numbers quoted in the text: μ = 100/s, τ = 0.1 s."""
    peak = peak_load(SERVICE_RATE, DEADLINE_S)
    return SimpleNamespace(
        refused_percent=100 * blocking_probability(0.8, 1.0, 10),
        goodput_at_80=fifo_goodput(80.0, SERVICE_RATE, DEADLINE_S),
        goodput_at_95=fifo_goodput(95.0, SERVICE_RATE, DEADLINE_S),
        peak_rate=peak,
        peak_goodput=fifo_goodput(peak, SERVICE_RATE, DEADLINE_S),
        bounded_at_80=bounded_goodput(80.0, SERVICE_RATE, DEADLINE_S, 6),
        bounded_at_95=bounded_goodput(95.0, SERVICE_RATE, DEADLINE_S, 6),
        bounded_at_200=bounded_goodput(200.0, SERVICE_RATE, DEADLINE_S, 6),
        best_at_80=best_capacity(80.0, SERVICE_RATE, DEADLINE_S),
        best_at_200=best_capacity(200.0, SERVICE_RATE, DEADLINE_S),
        long_queue_at_200=bounded_goodput(200.0, SERVICE_RATE, DEADLINE_S, 20),
        collapse_at_99=fifo_goodput(99.0, SERVICE_RATE, DEADLINE_S),
        slow_service_goodput=bounded_goodput(100.0, SERVICE_RATE / 2, DEADLINE_S, 6),
    )


def figure_goodput_collapse(figure: Figure) -> None:
    """Without a limit goodput peaks below capacity and falls to nothing; a queue of six holds it
    at any load.

    Curves are the exact formulas for 100 requests a second and a deadline of 0.1 s. Points are
    simulations of 21,000 requests with 95% confidence intervals; serving the newest first needs no
    limit, and starves the oldest instead.

    Alt: Line chart of answers in time per second against offered load from 0 to 200 per second.
    The unlimited queue rises to 69 at 78 per second and drops to zero at 100. The queue of six
    places follows the ideal line closely and then levels off above 90. The queue of twenty places
    drops to a few per second. Simulated points lie on the curves; those of the newest-first queue
    stay near 90 and above.
    """
    rng = np.random.default_rng(25)
    axes = figure.subplots()
    load = np.linspace(1.0, 200.0, 200)
    axes.plot(load, np.minimum(load, SERVICE_RATE), color="C4", linestyle=":", linewidth=1.2)
    fifo = [fifo_goodput(x, SERVICE_RATE, DEADLINE_S) for x in load]
    axes.plot(load, fifo, color="C3")
    for places, colour in ((20, "C1"), (6, "C0")):
        bounded = [bounded_goodput(x, SERVICE_RATE, DEADLINE_S, places) for x in load]
        axes.plot(load, bounded, color=colour)
        few = (80.0, 120.0, 180.0)
        runs = [
            simulate_goodput(rng, x, SERVICE_RATE, DEADLINE_S, capacity=places, customers=21_000)
            for x in few
        ]
        means, halves = [run.mean for run in runs], [run.half_width for run in runs]
        axes.errorbar(few, means, halves, fmt="o", color=colour)
    some = (60.0, 90.0, 120.0, 150.0, 190.0)
    runs = [
        simulate_goodput(rng, x, SERVICE_RATE, DEADLINE_S, newest_first=True, customers=21_000)
        for x in some
    ]
    means, halves = [run.mean for run in runs], [run.half_width for run in runs]
    axes.errorbar(some, means, halves, fmt="s", color="C2", markerfacecolor="none")
    for text, x, y, colour in (
        ("capacity", 140, 102, "C4"),
        ("no limit", 70, 30, "C3"),
        ("20 places", 128, 46, "C1"),
        ("6 places", 112, 78, "C0"),
        ("newest first", 152, 84, "C2"),
    ):
        axes.annotate(text, (x, y), color=colour)
    axes.set(xlim=(0, 200), ylim=(0, 112))
    axes.set(xlabel="offered load λ [1/s]", ylabel="answers in time [1/s]")


def check_blocking() -> None:
    """With ten places and ρ = 0.8, one request in 43 is refused.

    Source: the state probabilities ρ^k of M/M/1/K summed in exact fractions.
    """
    checks.close(
        "M/M/1/10 at ρ = 0.8", blocking_probability(0.8, 1.0, 10), 0.0234928576, atol=5e-11
    )
    for rho, places in ((Fraction(4, 5), 10), (Fraction(1), 7), (Fraction(5, 2), 40)):
        exact = rho**places / sum(rho**k for k in range(places + 1))
        checks.close(
            f"ρ = {rho}, K = {places}",
            blocking_probability(float(rho), 1.0, places),
            float(exact),
            rtol=1e-13,
        )


def check_fifo_goodput() -> None:
    """At 80 requests a second 69 are answered in time, at 95 only 37: more load, half the answers.

    Source: λ(1 − e^{−(μ−λ)τ}) by hand, e^{−2} and e^{−1/2}; simulated queues of 140,000 requests.
    """
    checks.close("λ = 80", fifo_goodput(80.0, 100.0, 0.1), 69.173, atol=5e-4)
    checks.close("λ = 95", fifo_goodput(95.0, 100.0, 0.1), 37.380, atol=5e-4)
    checks.close("λ = μ", fifo_goodput(100.0, 100.0, 0.1), 0.0)
    run = simulate_goodput(np.random.default_rng(1), 80.0, 100.0, 0.1, customers=140_000)
    checks.covers("λ = 80, simulated", run, fifo_goodput(80.0, 100.0, 0.1))


def check_peak_lies_below_80() -> None:
    """Goodput peaks at 78.2 requests a second, where 69.4 are answered in time: 80 is already past
    the peak.

    Source: the largest of the goodputs on a grid of 0.001 requests a second; the condition
    e^{(μ−λ)τ} = 1 + λτ.
    """
    grid = np.arange(1.0, 100.0, 0.001)
    goodput = grid * -np.expm1(-(100.0 - grid) * 0.1)
    peak = peak_load(100.0, 0.1)
    checks.close("peak load [1/s]", peak, grid[goodput.argmax()], atol=6e-4)
    checks.close("goodput there [1/s]", fifo_goodput(peak, 100.0, 0.1), goodput.max(), rtol=1e-9)
    checks.close("e^{(μ−λ)τ}", math.exp((100.0 - peak) * 0.1), 1 + peak * 0.1, rtol=1e-12)
    checks.holds("peak below 80", peak < 80, got=peak)


def check_bounded_goodput() -> None:
    """The finite queue's goodput agrees with simulation, and without a deadline it is what is not
    refused.

    Source: simulated M/M/1/K of 42,000 requests; throughput λ(1 − B) of M/M/1/K; `fifo_goodput`
    for many places.
    """
    for load, places in ((80.0, 6), (200.0, 6), (120.0, 20)):
        run = simulate_goodput(
            np.random.default_rng(places), load, 100.0, 0.1, capacity=places, customers=42_000
        )
        checks.covers(f"λ = {load:g}, K = {places}", run, bounded_goodput(load, 100.0, 0.1, places))
    admitted = 200.0 * (1 - blocking_probability(200.0, 100.0, 6))
    checks.close("τ = 10 s", bounded_goodput(200.0, 100.0, 10.0, 6), admitted, rtol=1e-12)
    many = bounded_goodput(80.0, 100.0, 0.1, 400)
    checks.close("K = 400", many, fifo_goodput(80.0, 100.0, 0.1), rtol=1e-12)


def check_short_queue_holds() -> None:
    """At twice its capacity a server with the best queue limit answers 97% of its capacity in time.

    Source: every capacity up to 60 tried one by one; a queue without a limit answers none.
    """
    best = best_capacity(200.0, 100.0, 0.1)
    tried = [bounded_goodput(200.0, 100.0, 0.1, k) for k in range(1, 61)]
    checks.equal("best K", best, 1 + tried.index(max(tried)))
    checks.close("goodput [1/s]", tried[best - 1], 96.626, atol=5e-4)
    checks.close("best K at λ = 80", best_capacity(80.0, 100.0, 0.1), 8)
    checks.holds("K = 20 loses three quarters", tried[19] < 25, got=tried[19])


def _in_time_per_s(
    arrivals: npt.NDArray[np.float64], services: npt.NDArray[np.float64], places: int
) -> float:
    """Answers within the deadline from one server with so many places [1/s], by their ends."""
    ends: deque[float] = deque()
    in_time = 0
    for now, service in zip(arrivals.tolist(), services.tolist(), strict=True):
        while ends and ends[0] <= now:
            ends.popleft()
        if len(ends) < places:
            ends.append(max(now, ends[-1] if ends else now) + service)
            in_time += ends[-1] - now <= DEADLINE_S
    return in_time / float(arrivals[-1])


def check_six_places_win_under_other_laws() -> None:
    """Near and above the capacity six places answer more in time than an unlimited queue, and four
    times too many places fewer, whether services are equal, exponential or very variable, and
    arrivals Poisson or in bursts; at 80% with equal services the limit is worth nothing.

    Source: simulations of 21,000 requests, one by one; squared coefficients of variation of 0, 1
    and 4.
    """
    rng = np.random.default_rng(5)
    for name, gap_scv, service_scv in (
        ("exponential", 1.0, 1.0),
        ("equal services", 1.0, 0.0),
        ("variable services", 1.0, 4.0),
        ("bursts", 4.0, 1.0),
    ):
        services = np.full(21_000, 1 / SERVICE_RATE)
        if service_scv:
            services *= rng.gamma(1 / service_scv, service_scv, services.size)
        gaps = rng.gamma(1 / gap_scv, gap_scv, services.size)
        for load in (80.0, 95.0, 200.0):
            arrivals = np.cumsum(gaps) / load
            six = _in_time_per_s(arrivals, services, 6)
            in_time = fifo_waits(arrivals, services) + services <= DEADLINE_S
            endless = float(in_time.sum() / arrivals[-1])
            label = f"{name}, {load:g} a second: six places over no limit"
            if load == 80.0 and service_scv == 0:
                checks.inside(label, six / endless, 0.95, 1.05)
            else:
                checks.inside(label, six / endless, 1.05, math.inf)


def check_bad_input_is_refused() -> None:
    """Rates of zero, NaN deadlines and half places are errors that name the argument."""
    checks.raises("λ = 0", blocking_probability, 0.0, 1.0, 3, match="arrival_rate must be positive")
    checks.raises("half a place", bounded_goodput, 1.0, 1.0, 1.0, 2.5, match="capacity must be")
    checks.raises("NaN deadline", fifo_goodput, 1.0, 1.0, math.nan, match="deadline_s must be")
    checks.raises("μ = ∞", peak_load, math.inf, 1.0, match="service_rate must be positive")
