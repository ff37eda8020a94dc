"""A batch shares the fixed cost of a call, and everybody in it waits for the last one.

If a batch of b takes ℓ(b) = αb + β, a server finishes b/ℓ(b) requests a second, at most 1/α.
Sequences that generate different numbers of tokens and leave together keep only
E[length]/E[longest of b] of the places busy. Greedy batching, which takes whatever waits as soon as
the server is free, is a bulk-service queue: an embedded Markov chain gives its mean latency.

Assumes: batch times depend on the size of the batch only; Poisson arrivals where a rate is given;
one server.

Source: Inoue (2021) for the line, and for greedy batching as a bulk-service queue.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.batches import form_batches
from serving_mathematics.core.queues.queue_simulator import MeanEstimate, batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

PER_ITEM_S, FIXED_S = 0.001, 0.005  # α and β of an encoder, by choice [s]


def _batch_rate(batch: int, per_item_s: float, fixed_s: float) -> float:
    """Requests a second of a server that always runs full batches, b/(αb + β).

    batch: b, a positive integer. per_item_s: α > 0 [s]. fixed_s: β ≥ 0 [s]. Raises ValueError
    outside these ranges.

    >>> _batch_rate(batch=20, per_item_s=0.001, fixed_s=0.005)
    800.0
    """
    batch = require_positive_integer(batch=batch)
    per_item_s = require_positive(per_item_s=per_item_s)
    fixed_s = require_non_negative(fixed_s=fixed_s)
    return batch / (per_item_s * batch + fixed_s)


def static_efficiency(lengths: npt.ArrayLike, batch: int) -> float:
    """Share of a static batch's places that work, E[length]/E[longest of b], over all batches that
    draw their members from these lengths.

    lengths: tokens that requests generate, positive, shape (n,). batch: b. The longest of b is
    below the i-th smallest of n with probability (i/n)^b. Raises ValueError on anything else.

    >>> static_efficiency([1, 3], batch=2)  # longest: 1, 3, 3, 3 with equal probability
    0.8
    """
    sizes = np.sort(as_floats(lengths=lengths), axis=None)
    positive = np.all((sizes > 0) & (sizes < math.inf))
    require(sizes.size > 0 and positive, "lengths", "positive and finite and not empty", lengths)
    batch = require_positive_integer(batch=batch)
    share = np.linspace(0, 1, sizes.size + 1) ** batch
    return float(sizes.mean() / (sizes @ np.diff(share)))


def _greedy_latency(
    arrival_rate: float, per_item_s: float, fixed_s: float, largest: int
) -> tuple[float, float]:
    """Mean latency [s] and mean batch of a server that takes whatever waits as soon as it is free.

    arrival_rate: λ of Poisson arrivals [1/s], below 98% of what full batches serve. per_item_s: α >
    0 [s]. fixed_s: β ≥ 0 [s]. largest: batch limit, at most 1000. A chain of the number waiting
    when a batch ends, solved exactly up to a length that the queue hardly ever exceeds. Raises
    ValueError outside these ranges.

    >>> latency_s, batch = _greedy_latency(100.0, per_item_s=0.005, fixed_s=0.0, largest=1)
    >>> round(latency_s, 9), round(batch, 9)  # M/D/1 at half load: 1.5 service times
    (0.0075, 1.0)
    """
    largest = as_number(largest=largest)
    require_work(100 * largest**2, largest=largest)
    arrival_rate = as_number(arrival_rate=arrival_rate)
    whole = largest % 1 == 0 and 1 <= largest <= 1000
    require(whole, "largest", "an integer from 1 to 1000", largest)
    largest = int(largest)
    most = 0.98 * _batch_rate(largest, per_item_s, fixed_s)
    require(0 < arrival_rate < most, "arrival_rate", f"in (0, {most:g})", arrival_rate)
    load = arrival_rate / _batch_rate(largest, per_item_s, fixed_s)
    states = int(3 * largest + 40 + 16 * load / (1 - load))
    waiting = np.arange(states)
    served = np.clip(waiting, 1, largest)
    time_s = per_item_s * served + fixed_s
    left = np.maximum(waiting - served, 0)
    new = waiting[None, :] - left[:, None]  # arrivals during the service that lead to a state
    log_mean = np.log(arrival_rate * time_s)[:, None]
    log_factorial = np.array([math.lgamma(k + 1) for k in range(states)])
    logs = new * log_mean - log_factorial[np.maximum(new, 0)] - arrival_rate * time_s[:, None]
    chain = np.exp(np.where(new >= 0, logs, -np.inf))
    balance = np.vstack([(chain.T - np.eye(states))[:-1], np.ones(states)])
    share = np.linalg.solve(balance, np.eye(states)[-1])
    cycle_s = share @ (time_s + (waiting == 0) / arrival_rate)
    inside = share @ (np.maximum(waiting, 1) * time_s + arrival_rate * time_s**2 / 2)
    return float(inside / cycle_s / arrival_rate), float(arrival_rate * cycle_s)


def _added_by_window_s(rate: float, window_s: float, requests: int = 4_000) -> MeanEstimate:
    """What a window adds to the mean latency of greedy batching [s], with the same arrivals."""
    return batch_means(_ends_s(rate, window_s, requests) - _ends_s(rate, 0.0, requests))


@functools.cache
def _ends_s(rate: float, window_s: float, requests: int) -> FloatArray:
    """When the batches of all requests end [s]."""
    arrivals = np.cumsum(np.random.default_rng(16).exponential(1 / rate, requests))
    return form_batches(arrivals, _linear_s, 20, window_s)[1]


def _linear_s(first: int, end: int) -> float:
    return PER_ITEM_S * (end - first) + FIXED_S


def figure_window(figure: Figure) -> None:
    """An encoder's greedy batches grow by themselves when the load does; a window costs its delay
    where there is little to wait for, and gains nothing where there is much.

    A batch of b takes b + 5 ms, at most 20 in a batch; requests come one by one, at random. No
    batching and greedy batching are exact; the points are simulated, and so is what a window adds.

    Alt: Mean latency against arrival rate. Without batching it explodes at a low rate. Greedy
    batching rises slowly to the right edge. The curve of a short window starts above it and meets
    it soon; that of a long window starts far above and is still above at the right edge.
    """
    axes = figure.subplots()
    alone = np.array([2, 60, 100, 120, 135, 145, 152, 156])
    lone_ms = [1000 * _greedy_latency(rate, PER_ITEM_S, FIXED_S, 1)[0] for rate in alone]
    axes.plot(alone, lone_ms, color="C4")
    rates = np.array([2, 80, 160, 300, 450, 600, 700])
    exact_ms = [1000 * _greedy_latency(rate, PER_ITEM_S, FIXED_S, 20)[0] for rate in rates]
    axes.plot(rates, exact_ms, color="C0")
    for rate in (100, 300, 500):
        arrivals = np.cumsum(np.random.default_rng(rate).exponential(1 / rate, 10_000))
        simulated_s = form_batches(arrivals, _linear_s, 20, 0.0)[1] - arrivals
        axes.plot(rate, 1000 * simulated_s.mean(), "o", color="C0")
    for window_s, colour in ((0.005, "C1"), (0.02, "C5")):
        added_ms = [1000 * _added_by_window_s(rate, window_s).mean for rate in rates]
        axes.plot(rates, np.add(exact_ms, added_ms), color=colour)
    axes.annotate("no batching", (162, 46), color="C4")
    axes.annotate("greedy", (330, 7.5), color="C0")
    axes.annotate("window 5 ms", (168, 14), color="C1")
    axes.annotate("window 20 ms", (190, 28), color="C5")
    axes.set(xlim=(0, 800), ylim=(0, 55))
    axes.set(xlabel="arrival rate [1/s]", ylabel="mean latency [ms]")


def check_static_efficiency() -> None:
    """Exponential lengths keep 1/H₈ = 36.79% of eight places busy.

    Source: the longest of b exponential lengths is H_b mean lengths, H₈ = 761/280 = 2.717857;
    100,000 quantiles stand for the distribution; all 27 batches of three lengths counted by hand.
    """
    lengths = -np.log1p(-(np.arange(100_000) + 0.5) / 100_000)
    harmonic = sum(1 / k for k in range(1, 9))
    checks.close("H₈", harmonic, 2.717857, atol=5e-7)
    checks.close("b = 8 [%]", 100 * static_efficiency(lengths, 8), 36.79, atol=0.005)
    sizes = [2.0, 3.0, 10.0]
    longest = [max(a, b, c) for a in sizes for b in sizes for c in sizes]
    expected = float(np.mean(sizes) / np.mean(longest))
    checks.close("by enumeration", static_efficiency(sizes, 3), expected, rtol=1e-12)


def check_greedy_batching() -> None:
    """The chain for greedy batching gives the latency of simulated batches, and of M/D/1 when
    batches hold one.

    Source: 40,000 simulated requests, standard error from batch means; Pollaczek–Khinchine, wait
    ρS/(2(1 − ρ)).
    """
    for rate, largest in ((300.0, 20), (700.0, 20), (400.0, 4)):
        rng = np.random.default_rng(largest)
        arrivals = np.cumsum(rng.exponential(1 / rate, 40_000))
        _, end_s = form_batches(arrivals, _linear_s, largest, 0.0)
        exact_s, _ = _greedy_latency(rate, PER_ITEM_S, FIXED_S, largest)
        label = f"λ = {rate:g}/s, at most {largest} [s]"
        checks.covers(label, batch_means((end_s - arrivals)[1000:]), exact_s)
    for load in (0.1, 0.5, 0.9):
        service_s = PER_ITEM_S + FIXED_S
        exact_s, _ = _greedy_latency(load / service_s, PER_ITEM_S, FIXED_S, 1)
        expected = service_s * (1 + load / (2 - 2 * load))
        checks.close(f"M/D/1, ρ = {load} [s]", exact_s, expected, rtol=1e-7)


def _group_gain(rate: float, members: int = 4, within_s: float = 0.001) -> float:
    """How much earlier the mean request is with a window as long as its group takes to come."""
    rng, count = np.random.default_rng(6), 3000
    starts = np.cumsum(rng.exponential(members / rate, count))
    arrivals = np.sort(np.repeat(starts, members) + rng.uniform(0, within_s, count * members))
    greedy, caught = (
        float((form_batches(arrivals, _linear_s, 20, window_s)[1] - arrivals).mean())
        for window_s in (0.0, within_s)
    )
    return 1 - caught / greedy


def example() -> SimpleNamespace:
    """What a window gains that catches groups, at a light load."""
    return SimpleNamespace(group_percent=100 * _group_gain(100.0))


def check_a_window_pays_for_groups_only() -> None:
    """A window makes the mean request later than batches of what waits, at a light and at a heavy
    load, with Poisson arrivals, regular ones, and bursts of twenty within 10 ms, longer than a
    batch takes. Where groups come within less than that, a window that catches them makes it
    earlier at every load, and least at a heavy one.

    Source: 10,000 simulated requests of each kind, the same for every window.
    """
    gains = [_group_gain(rate) for rate in (20.0, 100.0, 300.0, 600.0)]
    checks.inside("groups of four within 1 ms, 100/s", gains[1], 0.1, 0.25, kind="simulation")
    checks.holds("and less with more load", bool(np.all(np.diff(gains) < 0) and gains[-1] > 0))
    rng = np.random.default_rng(6)
    count = 10_000
    starts = np.cumsum(rng.exponential(20.0, count // 20))
    for rate in (100.0, 700.0):
        within = rng.uniform(0.0, 0.01, count)
        for name, arrivals in (
            ("Poisson", np.cumsum(rng.exponential(1 / rate, count))),
            ("regular", np.arange(count) / rate),
            ("bursts", np.sort(np.repeat(starts, 20) / rate + within)),
        ):
            greedy, *windowed = (
                1000 * float((form_batches(arrivals, _linear_s, 20, w)[1] - arrivals).mean())
                for w in (0.0, 0.005, 0.02)
            )
            order = f"{greedy:.2f} ≤ {windowed[0]:.2f} ≤ {windowed[1]:.2f} ms"
            right = greedy <= windowed[0] + 1e-9 and windowed[0] <= windowed[1]
            checks.holds(f"{name}, {rate:g}/s", right and greedy < windowed[1], got=order)


def check_bad_input_is_refused() -> None:
    """Batches of nobody, loads beyond capacity and unsorted times are errors that name the
    argument.
    """
    checks.raises("b = 0", _batch_rate, 0, 0.001, 0.0, match="batch must be a positive integer")
    checks.raises("no lengths", static_efficiency, [], 2, match="lengths must be positive")
    checks.raises(
        "overload", _greedy_latency, 800.0, 0.001, 0.005, 20, match="arrival_rate must be"
    )
