"""The law is about means: to get the distribution of N from latencies, requests may not overtake.

With Poisson arrivals, and departures in the order of arrival, those inside when a request leaves
are exactly the arrivals during its sojourn, so N is Poisson with a random mean:
P(N = n) = E[e^{−λW}(λW)ⁿ/n!], and E[N(N−1)] = λ²E[W²]. Let requests overtake, and the means stay
while the distributions part.

Assumes: Poisson arrivals, first in first out through the whole box, sojourns that do not depend on
later arrivals, steady state.

Source: Keilson and Servi (1988); Bertsimas and Nakazato (1995).
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.littles_law.littles_law import number_in_system
from serving_mathematics.core.queues.queue_simulator import MeanEstimate, batch_means, fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import STUDENT_T_975
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_non_negative,
    require_all_sorted,
    require_non_negative,
    require_non_negative_integer,
    require_shape,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]


def number_distribution(
    arrival_rate: float, sojourn_times_s: npt.ArrayLike, largest: int
) -> FloatArray:
    """P(N = 0), …, P(N = largest) from a sample of sojourns, if nobody overtakes.

    arrival_rate: λ [1/s]. sojourn_times_s: W of a sample of requests [s], shape (n,). largest: last
    number wanted. Returns shape (largest + 1,). Raises ValueError on a negative or non-finite rate
    or time, an empty sample, or a negative or fractional number.

    >>> number_distribution(2.0, [0.5], largest=2).round(6).tolist()
    [0.367879, 0.367879, 0.18394]
    """
    sojourns = as_floats(sojourn_times_s=sojourn_times_s)
    arrival_rate = require_non_negative(arrival_rate=arrival_rate)
    require(
        sojourns.ndim == 1
        and sojourns.size > 0
        and np.all((sojourns >= 0) & (sojourns < math.inf)),
        "sojourn_times_s",
        "a non-empty series of non-negative and finite times",
        sojourns,
    )
    largest = require_non_negative_integer(largest=largest)
    require_work(200 * largest, largest=largest)
    means = arrival_rate * sojourns
    with np.errstate(divide="ignore"):  # ln 0 = −∞ leaves nothing of the terms from 1 on
        logs = np.log(means)
    log_terms, share = -means, np.empty(int(largest) + 1)
    for n in range(int(largest) + 1):
        share[n] = np.exp(log_terms).mean()
        log_terms += logs - math.log(n + 1)
    return share


def lifo_departures(arrival_times: npt.ArrayLike, service_times: npt.ArrayLike) -> FloatArray:
    """Departures from a single server that always drops what it does for the latest arrival.

    arrival_times: sorted [s], shape (n,). service_times: [s], same shape; interrupted work is
    resumed where it stopped. Returns departure times [s] in the order of arrival. Raises ValueError
    on empty, unsorted, negative, non-finite or mismatched input.

    >>> lifo_departures([0.0, 1.0, 5.0], [3.0, 1.0, 1.0]).tolist()
    [4.0, 2.0, 6.0]
    """
    arrivals = as_floats(arrival_times=arrival_times)
    services = as_floats(service_times=service_times)
    require(
        arrivals.ndim == 1 and arrivals.size > 0,
        "arrival_times",
        "a non-empty (n,) array",
        arrivals.shape,
    )
    require_shape(arrivals.shape, service_times=services)
    require_all_sorted(arrival_times=arrivals)
    require_all_non_negative(service_times=services)
    came, departures = arrivals.tolist(), [0.0] * arrivals.size
    inside: list[int] = []  # requests, the latest on top
    needs: list[float] = []  # work that each of them still needs
    for i, (clock, service, next_arrival) in enumerate(
        zip(came, services.tolist(), [*came[1:], math.inf], strict=True)
    ):
        inside.append(i)
        needs.append(service)
        while needs and clock + needs[-1] <= next_arrival:
            clock += needs.pop()
            departures[inside.pop()] = clock
        if needs:
            needs[-1] -= next_arrival - clock
    return np.array(departures)


SEEDS = range(31, 35)  # of the runs of the text, 60,000 requests each
RHO = 0.8  # utilization: mean sojourn 1/(1−ρ) = 5 service times in any order, N geometric


def _slots(share: FloatArray, covered: float) -> int:
    """Smallest number that is exceeded with probability at most 1 − covered."""
    return int(np.searchsorted(np.cumsum(share), covered))


@functools.cache
def _run(rho: float, count: int, seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Arrivals and the departures of the same requests in both orders, from one M/M/1."""
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1 / rho, count))
    services = rng.exponential(1.0, count)
    fifo = arrivals + fifo_waits(arrivals, services) + services
    return arrivals, fifo, lifo_departures(arrivals, services)


def example() -> SimpleNamespace:
    """Numbers quoted in the text: M/M/1 at ρ = 0.8 served in two orders, in mean service times."""
    share = (np.arange(4000) + 0.5) / 4000
    fifo = number_distribution(RHO, -5.0 * np.log1p(-share), 60)
    slots = []
    for seed in SEEDS:
        arrivals, _, lifo_left = _run(RHO, 60_000, seed)
        tens = np.sort(lifo_left - arrivals).reshape(-1, 10).mean(axis=1)  # of nearly equal ones
        slots.append(_slots(number_distribution(RHO, tens, 200), 0.999))
    error = float(np.std(slots, ddof=1)) / math.sqrt(len(slots))
    fifo_square, lifo_square = 2 / (1 - RHO) ** 2, 2 / (1 - RHO) ** 3
    return SimpleNamespace(
        fifo_second_moment=fifo_square,
        lifo_second_moment=lifo_square,
        pairs_in_flight=RHO**2 * fifo_square,
        pairs_from_lifo=RHO**2 * lifo_square,
        slots_fifo_999=_slots(fifo, 0.999),
        slots_lifo_999=float(np.mean(slots)),  # mean of four runs
        slots_lifo_999_pm=STUDENT_T_975[3] * error,  # half of the 95% interval
        poisson_slots_999=_slots(number_distribution(RHO, [5.0], 40), 0.999),
    )


def figure_distribution_of_number(figure: Figure) -> None:
    """One queue, two orders of service: the number in flight is the same, the latencies are not.

    M/M/1 at ρ = 0.8, the same 60,000 requests in both orders. Bars: measured number in flight.
    Lines: what the distributional law makes of the measured latencies; right for first in first
    out, too wide for last in first out.

    Alt: Chart on a logarithmic axis of the probability of each number in flight from 0 to 30. Bars
    fall in a straight line from 0.2 to 0.0003. The line from first-in-first-out latencies follows
    the bars. The line from last-in-first-out latencies starts twice as high at 0, runs up to three
    times below the bars from 2 to 20 and lies above them from 22 on.
    """
    axes = figure.subplots()
    arrivals, fifo, lifo = _run(RHO, 60_000, SEEDS[0])
    instants = np.linspace(0, float(arrivals[-1]), 70_000)
    numbers = np.arange(31)
    counts = np.bincount(number_in_system(arrivals, fifo, instants), minlength=31)[:31]
    axes.bar(numbers, counts / instants.size, color="C4", alpha=0.35, width=0.8)
    axes.semilogy(
        numbers, number_distribution(RHO, fifo - arrivals, 30), "o-", color="C0", markersize=3
    )
    axes.semilogy(
        numbers, number_distribution(RHO, lifo - arrivals, 30), "s-", color="C3", markersize=3
    )
    axes.annotate("from latencies,\nfirst in first out", (8.5, 0.045), color="C0", va="center")
    axes.annotate(
        "from latencies,\nlast in first out", (25, 0.006), color="C3", va="center", ha="center"
    )
    axes.annotate("bars: measured, both orders", (30.5, 0.28), color="C4", ha="right", va="center")
    axes.set(
        xlim=(-0.7, 30.7),
        ylim=(1e-4, 0.6),
        xlabel="in flight n [requests]",
        ylabel="P(N = n) [1]",
    )
    axes.minorticks_off()


def check_first_in_first_out_gives_the_distribution() -> None:
    """Exponential sojourns of an M/M/1 turn into the geometric distribution of its number.

    Source: P(N = n) = (1−ρ)ρⁿ, and a stratified sample of 20,000 exponential sojourns of mean 5;
    constant sojourns give Poisson probabilities by hand.
    """
    share = (np.arange(20_000) + 0.5) / 20_000
    got = number_distribution(RHO, -5.0 * np.log1p(-share), 12)
    checks.close("P(N = n), n ≤ 12", got, 0.2 * RHO ** np.arange(13), atol=2e-6)
    poisson = number_distribution(0.5, [6.0], 3)
    by_hand = math.exp(-3) * np.array([1, 3, 9 / 2, 27 / 6])
    checks.close("constant sojourn of mean count 3", poisson, by_hand, rtol=1e-12)


def check_last_in_first_out_keeps_the_means_only() -> None:
    """Serve the latest first: λW is still L, but λ²E[W²] is no longer E[N(N−1)].

    Source: a sojourn is then a busy period, with E[W²] = 2/(1−ρ)³ instead of 2/(1−ρ)², and N stays
    geometric, with E[N(N−1)] = 2ρ²/(1−ρ)². Batch means over 105,000 requests at ρ = 0.5,
    and 240,000 in four runs at 0.8.
    """
    half, most = [_run(0.5, 105_000, 5)], [_run(RHO, 60_000, seed) for seed in SEEDS]
    for rho, runs, pairs, scaled in ((0.5, half, 2.0, 4.0), (RHO, most, 32.0, 160.0)):
        in_order, latest_first, numbers = [], [], []
        for arrivals, fifo, lifo in runs:
            in_order.append((fifo - arrivals)[500:])
            latest_first.append((lifo - arrivals)[500:])
            instants = np.linspace(500, float(arrivals[-1]), 70_000 // len(runs))
            numbers.append(number_in_system(arrivals, lifo, instants))
        number, lasted = np.concatenate(numbers), np.concatenate(latest_first)
        for name, sojourns in (("first", np.concatenate(in_order)), ("last", lasted)):
            label = f"ρ = {rho}: mean sojourn, {name} in first out"
            checks.covers(label, batch_means(sojourns), 1 / (1 - rho))
        checks.covers(f"ρ = {rho}: E[N]", batch_means(number), rho / (1 - rho))
        checks.covers(f"ρ = {rho}: E[N(N−1)]", batch_means(number * (number - 1.0)), pairs)
        squares = batch_means(rho**2 * lasted**2)
        checks.covers(f"ρ = {rho}: λ²E[W²], last in first out", squares, scaled)


def check_overtaking_batch_is_poisson() -> None:
    """Requests that run side by side and overtake have Poisson numbers, not the law's mixture.

    Source: infinite servers with Poisson arrivals and exponential sojourns: N is Poisson with mean
    λW = 6, so E[N(N−1)] = 36; the law for ordered departures would say 2 × 36.
    """
    rng = np.random.default_rng(14)
    arrivals = np.cumsum(rng.exponential(1 / 3, 120_000))
    sojourns = rng.exponential(2.0, 120_000)
    instants = np.linspace(50, float(arrivals[-1]), 200_000)
    numbers = number_in_system(arrivals, arrivals + sojourns, instants)
    estimate: MeanEstimate = batch_means(numbers * (numbers - 1.0))
    checks.covers("E[N(N−1)] measured", estimate, 36.0)
    wrong = number_distribution(3.0, -2.0 * np.log1p(-(np.arange(4000) + 0.5) / 4000), 250)
    pairs = np.arange(251) * (np.arange(251) - 1.0)
    checks.close("E[N(N−1)] of the mixture", float(pairs @ wrong), 72.0, rtol=2e-3)


def check_bad_input_is_refused() -> None:
    """Negative sojourns, empty logs, fractional numbers and unsorted arrivals are errors."""
    checks.raises(
        "negative sojourn",
        number_distribution,
        1.0,
        [-1.0],
        3,
        match="sojourn_times_s must be a non-empty",
    )
    checks.raises(
        "empty log", number_distribution, 1.0, [], 3, match="sojourn_times_s must be a non-empty"
    )
    checks.raises("half a request", number_distribution, 1.0, [1.0], 0.5, match="largest must be")
    checks.raises(
        "unsorted",
        lifo_departures,
        [1.0, 0.0],
        [1.0, 1.0],
        match="arrival_times must be finite and sorted",
    )
